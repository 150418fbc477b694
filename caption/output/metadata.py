"""The caption inside the photograph's own file: its XMP description, with every other byte left alone.

Comes in: a JPEG, PNG or WebP file and a caption. Goes out: the same file with `dc:description` set in its
default language, written whole or not at all; the coded pixels, EXIF and what else XMP says, other languages
included, are not touched. (EXIF is left alone on
purpose: written anew, the notes that cameras keep in it would break.)

XMP: ISO 16684-1; where it lies in each kind of file: XMP Specification, Part 3 (Adobe 2020).
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import shutil
import stat
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

from common.errors import InputError

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC = "http://purl.org/dc/elements/1.1/"
_META = "adobe:ns:meta/"
_XML = "http://www.w3.org/XML/1998/namespace"
_OWNER, _LINE = f"{{{_RDF}}}Description", f"{{{_RDF}}}li"
_DESCRIPTION, _LANGUAGE, _DEFAULT = f"{{{_DC}}}description", f"{{{_XML}}}lang", "x-default"
_EMPTY = f'<x:xmpmeta xmlns:x="{_META}"><rdf:RDF xmlns:rdf="{_RDF}"/></x:xmpmeta>'

_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_XMP = b"XML:com.adobe.xmp\0"
_LARGEST_SEGMENT = 65533

# What reading a damaged file, or one of another kind, can end in.
_DAMAGE = (ValueError, struct.error, IndexError, zlib.error, ElementTree.ParseError)


def write_description(path: Path, caption: str, even_read_only: bool = False) -> None:
    """Set a photograph's XMP description. Of a symbolic link, the file that it leads to is written.

    Args:
        path: the photograph.
        caption: its new description.
        even_read_only: write a file that is marked read-only, too; it stays so marked.

    Raises:
        InputError: if the file is no JPEG, PNG or WebP, is damaged, cannot be read or written, or may not be
            changed (see `obstacle`).
    """
    refused = obstacle(path, even_read_only)
    if refused is not None:
        raise InputError(path, refused)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    try:
        packet = described(read_packet(data), caption)
        changed = _with_packet(data, packet)
    except _DAMAGE as error:
        raise InputError(path, f"the caption cannot be written into it: {error}") from error
    try:
        _replace(path.resolve(), changed)
    except OSError as error:
        raise InputError(path, f"cannot be written: {error.strerror}") from error


def obstacle(path: Path, even_read_only: bool = False) -> str | None:
    """Why a photograph may not be changed, None if it may.

    A file that is written whole is a new one: it would part from its other names (hard links), and a mark
    that it is read-only would not protect it.
    """
    try:
        found = path.stat()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if found.st_nlink > 1:
        return f"is one file under {found.st_nlink} names (hard links), which would part; copy it first"
    # An administrator may write everything: the mark itself counts.
    writable = found.st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) and os.access(path, os.W_OK)
    return None if writable or even_read_only else "is read-only, and is left as it is"


def _replace(path: Path, data: bytes) -> None:
    """Put a new file in the place of one, whole or not at all, with its permissions and attributes."""
    before = path.stat()
    handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if hasattr(os, "chown"):
            with suppress(OSError):  # only an administrator can give a file away
                os.chown(part, before.st_uid, before.st_gid)
        shutil.copystat(path, part)
        os.utime(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def has_description(path: str | Path) -> bool:
    """Whether a photograph's XMP has a description; not, if the file cannot be read."""
    try:
        return bool(read_description(Path(path).read_bytes()))
    except (OSError, *_DAMAGE):
        return False


@functools.lru_cache(maxsize=64)
def picture_digest(path: str, size: int, changed: int) -> str:
    """What is the same before and after `write_description`: the digest of all but the XMP description.

    Args:
        path: of any picture.
        size, changed: of its file; they are asked for so that no file is read twice.

    Returns:
        SHA-256 in hexadecimal; empty if the file cannot be read.
    """
    try:
        data = Path(path).read_bytes()
    except OSError:
        return ""
    try:
        kept = [*_without_packet(data), described(read_packet(data), "")]
    except _DAMAGE:
        kept = [data]
    digest = hashlib.sha256()
    for part in kept:
        digest.update(part)
    return digest.hexdigest()


def _without_packet(data: bytes) -> list[bytes]:
    """What a file holds beside its XMP, and beside what only announces it."""
    kind = _kind(data)
    if kind == "png":
        return [whole for name, body, whole in _png_chunks(data) if not _is_png_xmp(name, body)]
    if kind == "webp":
        return [
            part
            for name, body in _webp_chunks(data)
            if name not in (b"XMP ", b"VP8X")
            for part in (name, body)
        ]
    kept, position = [], 0
    for start, body in _segments(data):
        if body.startswith(_JPEG_XMP):
            kept.append(data[position:start])
            position = start + 4 + len(body)
    return [*kept, data[position:]]


def read_description(data: bytes) -> str | None:
    """The XMP description in a file's bytes, in its default language or the first; None if it has none.

    Raises:
        ValueError: for another kind of file, or damaged XMP (`ElementTree.ParseError`).
    """
    packet = read_packet(data)
    if packet is None:
        return None
    root = ElementTree.fromstring(packet.strip(b"\0 \r\n"))  # noqa: S314 - expat stops entity bombs
    lines = root.findall(f".//{_DESCRIPTION}//{_LINE}")
    lines.sort(key=lambda line: line.get(_LANGUAGE, _DEFAULT) != _DEFAULT)
    simple = [one.text for one in root.iter(_DESCRIPTION) if not len(one)]
    simple += [one.get(_DESCRIPTION) for one in root.iter(_OWNER)]
    return next((text for text in (*(line.text for line in lines), *simple) if text and text.strip()), None)


def read_packet(data: bytes) -> bytes | None:
    """The XMP packet in a JPEG's, PNG's or WebP's bytes; None if it has none.

    Raises:
        ValueError: for another kind of file.
    """
    kind = _kind(data)
    if kind == "jpeg":
        found = (body.removeprefix(_JPEG_XMP) for _, body in _segments(data) if body.startswith(_JPEG_XMP))
    elif kind == "png":
        found = (_png_text(body) for name, body, _ in _png_chunks(data) if _is_png_xmp(name, body))
    else:
        found = (body for name, body in _webp_chunks(data) if name == b"XMP ")
    return next(found, None)


def described(packet: bytes | None, caption: str) -> bytes:
    """An XMP packet, or an empty one, with `dc:description` set in the default language.

    Raises:
        ElementTree.ParseError: if the packet is no XML.
    """
    source = packet.strip(b"\0 \r\n") if packet else _EMPTY.encode()
    for prefix, uri in [("x", _META), ("rdf", _RDF), ("dc", _DC), *_prefixes(source)]:
        if not prefix.startswith("ns"):  # ElementTree keeps those for itself
            ElementTree.register_namespace(prefix, uri)
    root = ElementTree.fromstring(source)  # noqa: S314 - expat stops entity bombs
    rdf = root if root.tag == f"{{{_RDF}}}RDF" else root.find(f"{{{_RDF}}}RDF")
    if rdf is None:
        raise ValueError("its XMP holds no RDF")
    others = _take_descriptions(rdf)
    about = next(rdf.iter(_OWNER), None)
    if about is None:
        about = ElementTree.SubElement(rdf, _OWNER, {f"{{{_RDF}}}about": ""})
    alternatives = ElementTree.SubElement(ElementTree.SubElement(about, _DESCRIPTION), f"{{{_RDF}}}Alt")
    # The default stands first (XMP Specification, Part 1, 8.2.2.4).
    ElementTree.SubElement(alternatives, _LINE, {_LANGUAGE: _DEFAULT}).text = caption
    alternatives.extend(others)
    body = ElementTree.tostring(root, encoding="utf-8")
    # The identifier is the standard's own; "w" says that the packet may be written anew.
    opening = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'.encode()
    return opening + body + b'<?xpacket end="w"?>'


def _take_descriptions(rdf: ElementTree.Element) -> list[ElementTree.Element]:
    """Take all descriptions out of an RDF tree, and keep those that are in a language of their own."""
    others = []
    for owner in rdf.iter(_OWNER):
        owner.attrib.pop(_DESCRIPTION, None)
        for old in owner.findall(_DESCRIPTION):
            others += [line for line in old.iter(_LINE) if line.get(_LANGUAGE, _DEFAULT) != _DEFAULT]
            owner.remove(old)
    return others


def _prefixes(packet: bytes) -> list[tuple[str, str]]:
    """The namespaces that a packet declares, by their prefixes."""
    events = ElementTree.iterparse(io.BytesIO(packet), events=["start-ns"])  # noqa: S314 - expat stops entity bombs
    return [(str(pair[0]), str(pair[1])) for _, pair in events if pair[0]]


def _kind(data: bytes) -> str:
    """ "jpeg", "png" or "webp"."""
    if data[:2] == b"\xff\xd8":
        return "jpeg"
    if data[:8] == _PNG_SIGNATURE:
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    raise ValueError("only JPEG, PNG and WebP files have a place for it that is known here")


def _with_packet(data: bytes, packet: bytes) -> bytes:
    """The same file with this XMP packet in place of its own."""
    return {"jpeg": _jpeg_with, "png": _png_with, "webp": _webp_with}[_kind(data)](data, packet)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The segments of a JPEG before its coded pixels: where each begins, and its body."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xFF:  # a byte of filling
            position += 1
            continue
        if marker == 0xDA or length < 2:
            return
        yield position, data[position + 4 : position + 2 + length]
        position += 2 + length


def _jpeg_with(data: bytes, packet: bytes) -> bytes:
    """A JPEG's packet is a segment behind JFIF's and EXIF's."""
    body = _JPEG_XMP + packet
    if len(body) > _LARGEST_SEGMENT:
        raise ValueError("its XMP is too large for a JPEG segment")
    segment = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    place, kept = 2, bytearray(data)
    for position, found in reversed(list(_segments(data))):
        if found.startswith(_JPEG_XMP):
            del kept[position : position + 4 + len(found)]
    for position, found in _segments(bytes(kept)):
        if found.startswith((b"JFIF\0", b"JFXX\0", b"Exif\0")):
            place = position + 4 + len(found)
    kept[place:place] = segment
    return bytes(kept)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """The chunks of a PNG: name, body, and the whole of it."""
    position = len(_PNG_SIGNATURE)
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        whole = data[position : position + 12 + length]
        if len(whole) < 12 + length:
            raise ValueError("it is cut off")
        yield whole[4:8], whole[8:-4], whole
        position += len(whole)


def _is_png_xmp(name: bytes, body: bytes) -> bool:
    """Whether a chunk holds XMP."""
    return name == b"iTXt" and body.startswith(_PNG_XMP)


def _png_text(body: bytes) -> bytes:
    """The packet in an iTXt chunk: keyword, compressed?, method, language, translated keyword, text."""
    compressed = body[len(_PNG_XMP)]
    _, _, text = body[len(_PNG_XMP) + 2 :].split(b"\0", 2)
    return zlib.decompress(text) if compressed else text


def _png_with(data: bytes, packet: bytes) -> bytes:
    """A PNG's packet is a text chunk behind its header."""
    typed = b"iTXt" + _PNG_XMP + b"\0\0\0\0" + packet
    chunk = struct.pack(">I", len(typed) - 4) + typed + struct.pack(">I", zlib.crc32(typed))
    header, *rest = (whole for name, body, whole in _png_chunks(data) if not _is_png_xmp(name, body))
    return b"".join([_PNG_SIGNATURE, header, chunk, *rest])


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a WebP: name and body."""
    position = 12
    while position + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, position + 4)
        body = data[position + 8 : position + 8 + length]
        if len(body) < length:
            raise ValueError("it is cut off")
        yield data[position : position + 4], body
        position += 8 + length + length % 2


def _webp_with(data: bytes, packet: bytes) -> bytes:
    """A WebP's packet stands last; a header that announces it stands first."""
    chunks = [(name, body) for name, body in _webp_chunks(data) if name != b"XMP "]
    if not chunks:
        raise ValueError("it holds no picture")
    has_xmp = 0x04
    name, body = chunks[0]
    if name == b"VP8X":
        chunks[0] = (name, bytes([body[0] | has_xmp]) + body[1:])
    else:
        chunks.insert(0, (b"VP8X", _webp_header(name, body, has_xmp)))
    parts = [
        name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
        for name, body in [*chunks, (b"XMP ", packet)]
    ]
    content = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def _webp_header(name: bytes, body: bytes, flags: int) -> bytes:
    """The extended header of a simple WebP: flags and size (RFC 9649, 2.7)."""
    if name == b"VP8L":
        (bits,) = struct.unpack_from("<I", body, 1)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        flags |= 0x10 if bits >> 28 & 1 else 0  # transparency
    else:
        width, height = (size & 0x3FFF for size in struct.unpack_from("<HH", body, 6))
    return bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
