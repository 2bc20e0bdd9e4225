"""Points out personal data: by the name of a column, and by what its values look like.

Names are known in English, German, French, Spanish and Italian. Values are known where a shape or check digits tell
them apart from anything else: mail and IP addresses, telephone numbers, card numbers (Luhn), IBANs (mod 97). Both are a
hint to whoever decides, and no more: a column that nothing is said of may hold personal data all the same.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

#: Characters of a name that are looked at: sorting marks costs the square of their number.
_MOST_OF_A_NAME = 200
#: Digits of a card number (ISO/IEC 7812), of a telephone number with its country (ITU-T E.164); characters of an IBAN
#: (ISO 13616).
_CARD_DIGITS, _PHONE_DIGITS, _IBAN_CHARACTERS = range(13, 20), range(8, 16), range(15, 35)
#: Characters of the longest value that is looked at: longer ones are none of these kinds. A mail address has 254.
_MOST_OF_A_VALUE = 254


class Kind(StrEnum):
    """A kind of personal data, in words."""

    MAIL = "e-mail address"
    PHONE = "telephone number"
    CARD = "card number"
    IBAN = "IBAN or account"
    NAME = "name of a person"
    BIRTH = "date of birth"
    ADDRESS = "postal address"
    IP = "IP address"
    STATE_ID = "number from an authority"


#: By kind the ends of names, in words without blanks and marks: `eMail` and `customer_e-mail` both end in email.
_ENDS = {
    Kind.MAIL: "email mail emails emailaddress mailaddress emailadresse mailadresse courriel correo "
    "correoelectronico postaelettronica indirizzoemail adresseemail adressemail",
    Kind.PHONE: "phone telephone telephon phonenumber phoneno mobile mobilephone mobilenumber cell cellphone tel "
    "telefon telefonnummer handy handynummer mobil mobilnummer mobiltelefon rufnummer portable telefono "
    "movil celular cellulare fax msisdn gsm",
    Kind.CARD: "creditcard creditcardnumber cardnumber cardno ccnumber pan kreditkarte kreditkartennummer "
    "kartennummer cartebancaire cartedecredit numerocarte numerodecarte tarjeta tarjetadecredito "
    "numerotarjeta cartadicredito numerocarta",
    Kind.IBAN: "iban bic bankaccount bankaccountnumber konto kontonummer kontonr bankverbindung comptebancaire rib "
    "cuentabancaria contocorrente contobancario sortcode",
    Kind.NAME: "name names firstname givenname forename lastname familyname middlename maidenname fullname surname "
    "nickname fname lname vorname nachname zuname familienname geburtsname kundenname salutation anrede "
    "prenom nom nomdefamille nomcomplet civilite nombre nombres apellido apellidos nome nomecompleto "
    "cognome",
    Kind.BIRTH: "birthdate dateofbirth birthday birth dob geburtsdatum geburtstag gebdatum gebdat geboren geborenam "
    "datedenaissance naissance fechadenacimiento fechanacimiento nacimiento datadinascita datanascita "
    "nascita anniversaire cumpleanos compleanno",
    Kind.ADDRESS: "street streetname streetaddress address addressline addr homeaddress postaladdress strasse str "
    "strassenname hausnummer anschrift adresse rue voie calle direccion domicilio indirizzo",
    Kind.IP: "ip ipaddress ipaddr ipadresse ipv4 ipv6 adresseip direccionip indirizzoip",
    Kind.STATE_ID: "ssn socialsecurity socialsecuritynumber passport passportnumber passnummer reisepass taxid "
    "taxnumber steuerid steuernummer sozialversicherungsnummer ausweisnummer dni nie nif nir codicefiscale "
    "nationalid numerodesecuritesociale",
}
_BY_END = {end: kind for kind, ends in _ENDS.items() for end in ends.split()}
#: Words that make another thing of it: a fact about it, such as whether it may be used, or something else with a name.
_OF_NO_PERSON = frozenset(
    [
        "opt",
        "optin",
        "optout",
        "in",
        "out",
        "consent",
        "allowed",
        "permission",
        "flag",
        "has",
        "is",
        "status",
        "verified",
        "valid",
        "count",
        "type",
        "domain",
        "product",
        "campaign",
        "segment",
        "store",
        "brand",
        "company",
        "category",
        "event",
        "file",
        "list",
        "city",
        "country",
        "state",
        "region",
        "produkt",
        "filial",
        "shop",
        "page",
        "plan",
        "program",
        "device",
        "model",
        "os",
        "tier",
        "hash",
        "sha256",
        "md5",
    ]
)

_MAIL = re.compile(r"[^\s@,;<>\"]{1,64}@[^\s@,;<>\"]{1,190}\.[^\W\d_]{2,24}")
_PHONE = re.compile(r"(?:\+|00)[1-9][\d ()./-]{5,22}\d|\(?0\d{1,5}\)?[ /-][\d ()./-]{3,18}\d|0[1-9]\d{8,10}")
_CARD = re.compile(r"[2-6]\d{3}(?:[ -]?\d{2,7}){2,4}")
_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}")
_IP_4 = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)")
_IP_6 = re.compile(r"(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}|(?=.*::)(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}")
_NO_DIGIT = re.compile(r"\D")

#: By kind the share of a column's values that look like one, from which on the column is pointed out. Ours: of numbers
#: without meaning one in ten passes Luhn's check, and dates or keys may look like telephone numbers; a mail address or
#: an IBAN with its check digits is nothing else.
LEAST_SHARES = {Kind.MAIL: 0.2, Kind.IBAN: 0.2, Kind.IP: 0.5, Kind.PHONE: 0.6, Kind.CARD: 0.6}


def kind_by_name(column: str) -> Kind | None:
    """The kind of personal data that a column holds by its name, or None."""
    words = words_of(column)
    if not _OF_NO_PERSON.isdisjoint(words):
        return None
    ends = ("".join(words[first:]) for first in range(len(words)))
    return next((_BY_END[end] for end in ends if end in _BY_END), None)


def words_of(column: str) -> list[str]:
    """The words of a name in lower case, without marks, and without numbers at its end."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", column[:_MOST_OF_A_NAME]).replace("ß", "ss")
    plain = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    words = re.findall(r"[a-z0-9]+", plain.lower())
    while len(words) > 1 and words[-1].isdecimal():
        words.pop()
    return words


def kind_of_value(value: str) -> Kind | None:
    """The kind of personal data that a value is by its shape and its check digits, or None."""
    value = value.strip()
    if not 6 <= len(value) <= _MOST_OF_A_VALUE:
        return None
    if "@" in value:
        return Kind.MAIL if _MAIL.fullmatch(value) else None
    if _CARD.fullmatch(value):
        return Kind.CARD if _is_card(_NO_DIGIT.sub("", value)) else None
    if _IP_4.fullmatch(value) or _IP_6.fullmatch(value):
        return Kind.IP
    if _PHONE.fullmatch(value):
        return Kind.PHONE if len(_NO_DIGIT.sub("", value)) in _PHONE_DIGITS else None
    return Kind.IBAN if _is_iban(value.replace(" ", "").upper()) else None


def _is_card(digits: str) -> bool:
    """True if the last of these digits is the check digit of the others (Luhn, ISO/IEC 7812-1)."""
    if len(digits) not in _CARD_DIGITS or len({*digits}) == 1:
        return False
    doubled = [2 * int(digit) for digit in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(number - 9 * (number > 9) for number in doubled)) % 10 == 0


def _is_iban(text: str) -> bool:
    """True if the third and fourth character are the check digits of the others (mod 97, ISO 13616)."""
    if len(text) not in _IBAN_CHARACTERS or not _IBAN.fullmatch(text):
        return False
    # A letter stands for two digits, A for 10.
    return int("".join(str(int(character, 36)) for character in text[4:] + text[:4])) % 97 == 1


def kind_by_values(values: Iterable[str]) -> tuple[Kind, float] | None:
    """The kind of personal data that these values, none of them empty, are, and the share that looks so; or None."""
    kinds = [kind_of_value(value) for value in values]
    for kind, count in Counter(kind for kind in kinds if kind).most_common():
        if (share := count / len(kinds)) >= LEAST_SHARES[kind]:
            return kind, share
    return None
