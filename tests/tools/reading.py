"""A page as a person reads it: its words in their order, without what is for programs."""

import re
from html import unescape

import aiohttp


def text_of_page(html: str) -> str:
    """The words on a page, one blank between them."""
    body = re.sub(r"(?s)<(script|style|title|svg)\b.*?</\1>", " ", html)
    words = " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())
    # Where a word in code or in a link ended, no blank is seen before the mark behind it.
    return re.sub(r" ([,.;:?])", r"\1", words)


async def get(url: str) -> bytes:
    """The body of an answer, of whatever status."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.read()


async def page(url: str) -> str:
    """The words on the page at this address."""
    return text_of_page((await get(url)).decode())
