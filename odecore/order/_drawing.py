"""Pictures of rooted trees, as SVG without any dependency."""

from __future__ import annotations

from odecore.order._rooted_tree import RootedTree

__all__ = ["svg"]

_STEP = 24  # pixels from vertex to vertex


def svg(tree: RootedTree, /) -> str:
    """Draw a tree with its root below, each vertex above its parent, in the text's colour."""
    places: list[tuple[int, int]] = []  # twice the column, row
    edges: list[tuple[int, int]] = []

    def place(node: RootedTree, column: int, row: int) -> tuple[int, int]:
        """Put a subtree from `column` on; the result is (index of its root, next free column)."""
        roots, free = [], column
        for child in node.children:
            root, free = place(child, free, row + 1)
            roots.append(root)
        middle = (places[roots[0]][0] + places[roots[-1]][0]) // 2 if roots else 2 * column
        places.append((middle, row))
        edges.extend((len(places) - 1, root) for root in roots)
        return len(places) - 1, max(free, column + 1)

    _, columns = place(tree, 0, 0)
    rows = 1 + max(row for _, row in places)
    x = [(column + 1) * _STEP // 2 for column, _ in places]
    y = [(rows - row) * _STEP - _STEP // 2 for _, row in places]
    lines = [f'<path d="M{x[a]} {y[a]}L{x[b]} {y[b]}" stroke="currentColor"/>' for a, b in edges]
    dots = [f'<circle cx="{a}" cy="{b}" r="4"/>' for a, b in zip(x, y, strict=True)]
    width, height = columns * _STEP, rows * _STEP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" fill="currentColor" role="img">'
        f"<title>{tree}</title>{''.join(lines + dots)}</svg>"
    )
