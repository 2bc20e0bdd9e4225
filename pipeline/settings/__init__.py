"""The configuration: its keys, and the client codes (tenants) and routes that it makes."""
