"""How far a sync has come: what its checkpoint holds."""

from hashlib import sha256

from msgspec import Struct, structs

from plugins import Permanent

Cursor = str | int | None


class Progress(Struct, frozen=True, kw_only=True):
    #: of the page that comes next; ``None``: the first
    cursor: Cursor = None
    pages: int = 0
    records: int = 0
    #: digest of a page seen before, by which one recognises a source that goes in circles
    mark: str | None = None

    def after(self, *, records: int, next: Cursor, trait: str) -> "Progress":
        """Return the progress after a page.

        Args:
            records: in the page.
            next: the cursor of the page that follows.
            trait: what no later page may have, too.

        Raises:
            Permanent: ``sync.stuck``, the source gives again what it gave before.
        """
        digest, pages = sha256(trait.encode()).hexdigest(), self.pages + 1
        if digest == self.mark:
            raise Permanent(
                f"the source does not go on: after {pages} pages it gave what it had given before; check the cursor",
                type="sync.stuck",
            )
        # Brent's way to find a circle of any length: remember the page of each power of two.
        mark = digest if pages & (pages - 1) == 0 else self.mark
        return structs.replace(self, cursor=next, pages=pages, records=self.records + records, mark=mark)
