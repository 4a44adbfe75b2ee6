"""The keys at the foot of a screen: all of them, on as many lines as they need."""

from __future__ import annotations

from textual.geometry import NULL_OFFSET, Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.widget import Widget
from textual.widgets import Footer

GAP = 2


class Flow(Layout):
    """Children side by side as words in a paragraph: what does not fit begins the next line."""

    name = "flow"

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:
        """A line high each, as wide as its content; ``size`` is the room there is."""
        placements = []
        x = y = 0
        for child in children:
            width = child.get_content_width(size, size)
            if x and x + width > size.width:
                x, y = 0, y + 1
            placements.append(WidgetPlacement(Region(x, y, width, 1), NULL_OFFSET, child.styles.margin, child))
            x += width + GAP
        return placements


FLOW = Flow()


class Keys(Footer):
    """Every action that can be done now; at 80 columns a footer of one line would cut off the last."""

    def __init__(self) -> None:
        super().__init__(show_command_palette=False, compact=True)

    @property
    def layout(self) -> Layout:
        """Of styles, only layouts that Textual has can be named."""
        return FLOW
