"""What a configuration may hold; the client codes (tenants) and routes that it makes."""
