"""Personal data is pointed out by the name of a column, and by values with their own shape or check digits."""

import pytest

from pipeline.core.survey.personal import Kind, kind_by_name, kind_by_values, kind_of_value

NAMES = {
    Kind.MAIL: [
        "E-Mail",
        "eMail",
        "customerEmail",
        "Kunden E-Mail Adresse",
        "Courriel",
        "correo electrónico",
        "Email 2",
    ],
    Kind.PHONE: ["Mobile Phone", "PhoneNumber", "Telefonnummer", "Téléphone", "Móvil", "cellulare"],
    Kind.NAME: ["First Name", "FirstName", "Vorname", "Prénom", "Apellidos", "Cognome", "name", "contact_last_name"],
    Kind.BIRTH: ["Birthdate", "date_of_birth", "DOB", "Geburtsdatum", "Date de naissance", "fecha de nacimiento"],
    Kind.ADDRESS: ["Street", "Straße", "address_line_1", "MailingStreet", "Dirección", "Indirizzo", "rue"],
    Kind.IBAN: ["IBAN", "Kontonummer"],
    Kind.CARD: ["Credit Card", "Kreditkartennummer", "numéro carte"],
    Kind.IP: ["last_ip", "IP Address", "ip"],
    Kind.STATE_ID: ["SSN", "Codice Fiscale", "dni"],
    None: [
        "tier",
        "ltv",
        "email_opt_in",
        "hasEmail",
        "Product Name",
        "country",
        "zip",
        "ship",
        "membership",
        "Customer Id",
    ],
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in NAMES.items() for name in names])
def test_names(kind: Kind | None, name: str) -> None:
    assert kind_by_name(name) is kind


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("a@b.de", Kind.MAIL),
        (" anna.müller@example.co.uk ", Kind.MAIL),
        ("anna@localhost", None),
        ("@handle", None),
        ("+49 170 1234567", Kind.PHONE),
        ("0049 (0)89-123456", Kind.PHONE),
        ("0170/1234567", Kind.PHONE),
        ("00012345", None),
        ("2026-11-29", None),
        ("12:30:45", None),
        ("4111 1111 1111 1111", Kind.CARD),
        ("5500005555555559", Kind.CARD),
        ("378282246310005", Kind.CARD),
        ("4111 1111 1111 1112", None),
        ("4111111111111", None),
        ("DE89 3704 0044 0532 0130 00", Kind.IBAN),
        ("gb82WEST12345698765432", Kind.IBAN),
        ("DE88370400440532013000", None),
        ("192.168.1.10", Kind.IP),
        ("256.168.1.10", None),
        ("2001:db8::8a2e:370:7334", Kind.IP),
        ("customer-000123", None),
        ("", None),
    ],
)
def test_values(value: str, kind: Kind | None) -> None:
    assert kind_of_value(value) is kind


def test_any_wrong_digit_makes_no_card_and_no_iban() -> None:
    for number, kind in (("4111111111111111", Kind.CARD), ("DE89370400440532013000", Kind.IBAN)):
        for place in range(2, len(number)):
            other = str((int(number[place]) + 1) % 10)
            assert kind_of_value(number[:place] + other + number[place + 1 :]) is not kind


def test_a_share_of_the_values_decides() -> None:
    mail, text = "a@example.com", "some text"
    assert kind_by_values([mail, text, text, text]) == (Kind.MAIL, 0.25)
    assert kind_by_values([mail] + [text] * 9) is None
    # One in ten of all numbers passes the check of a card number.
    numbers = [f"411111111111{number:04d}" for number in range(1000, 2000)]
    assert kind_by_values(numbers) is None
    assert kind_by_values([]) is None
