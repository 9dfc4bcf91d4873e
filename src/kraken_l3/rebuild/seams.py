"""What is known of the books where one part of an archive ends and the next begins (`parts`), and whether it agrees."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Optional

from kraken_l3.archive.checkpoints import checkpoints_of, read_checkpoint
from kraken_l3.archive.companions import CompanionDamage
from kraken_l3.archive.datafile import DataFile
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import BookImage, Engine, EngineOptions, SymbolTally
from kraken_l3.model.events import State
from kraken_l3.model.timestamps import day_start_ns
from kraken_l3.rebuild.checkpointing import image_of
from kraken_l3.rebuild.division import Cut
from kraken_l3.rebuild.metadata import MetadataTeller, SymbolMetadata

__all__ = ["Book", "Books", "are_same", "begin_at", "books_of", "lies_in"]


class Book(NamedTuple):
    """All there is to a book in step whose precision and depth were told.

    Attributes:
        parameters: price precision, quantity precision and depth.
        image: the book.
    """

    parameters: tuple[Optional[int], Optional[int], Optional[int]]
    image: BookImage


#: By symbol; None stands for what an image cannot tell. A symbol that never had a book is left out.
Books = dict[str, Optional[Book]]


def books_of(engine: Engine) -> Books:
    """The books in an engine, as they stand."""
    books: Books = {}
    for tally in engine.tallies():
        if tally.depth is not None:
            image = engine.export_book(tally.symbol) if _is_certain(tally) else None
            books[tally.symbol] = Book(tally.parameters(), image) if image is not None else None
    return books


def _is_certain(tally: SymbolTally) -> bool:
    return tally.state is State.SYNCED and not tally.depth_inferred and not tally.precision_inferred


def are_same(books: Books, others: Books, engine_name: str) -> bool:
    """Whether they are the same, order by order, and nothing else is open either."""
    if books.keys() != others.keys():
        return False
    for symbol, one in books.items():
        other = others[symbol]
        if one is None or other is None or one.parameters != other.parameters:
            return False
        if not _is_image_of(other.image, one, engine_name):
            return False
    return True


def _is_image_of(image: BookImage, book: Book, engine_name: str) -> bool:
    """Whether an image is of this book, whatever its text looks like."""
    if image == book.image:
        return True
    engine = make_engine(EngineOptions(), engine_name)
    price, qty, depth = book.parameters
    engine.set_symbol(image.symbol, price_precision=price, qty_precision=qty, depth=depth)
    return engine.load_book(image) and engine.export_book(image.symbol) == book.image


def begin_at(engine: Engine, metadata: Iterable[SymbolMetadata], cut: Cut) -> Books:
    """Load the books of a cut as they stand in an engine that was told all up to there."""
    path, position = cut.place
    with DataFile(path) as file:
        begin_ns = day_start_ns(file.day) if file.day is not None else 0
        teller = MetadataTeller(engine, metadata, begin_ns=begin_ns)
        if file.receipts is not None:
            teller.tell_before_line(file.receipts, position.line)
    images: dict[str, BookImage] = {}
    for head in cut.heads:
        checkpoint = read_checkpoint(checkpoints_of(path), head)
        image = image_of(checkpoint) if checkpoint is not None else None
        if image is not None and engine.load_book(image):
            images[head.symbol] = image
    return {
        tally.symbol: Book(tally.parameters(), images[tally.symbol]) if _is_certain(tally) else None
        for tally in engine.tallies()
        if tally.symbol in images
    }


def lies_in(cut: Cut, books: Books, engine_name: str) -> list[CompanionDamage]:
    """The checkpoints of a cut with another book than the one that the data led to."""
    lies = []
    path = checkpoints_of(cut.place.path)
    for head in cut.heads:
        book = books.get(head.symbol)
        checkpoint = read_checkpoint(path, head) if book is not None else None
        if book is None or checkpoint is None:
            continue  # what cannot be read, `companion_damage` tells
        image = image_of(checkpoint)
        if image is not None and not _is_image_of(image, book, engine_name):
            what = f"not the book of {head.symbol} that the data leads to"
            lies.append(CompanionDamage(path.name, what, head.number, head.offset))
    return lies
