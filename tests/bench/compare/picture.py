# SPDX-License-Identifier: ISC
"""The picture: a pair of bars for each case, drawn as SVG.

Colours are of middle lightness, so that it reads on white and on black."""

from xml.sax.saxutils import escape

from .figures import judge, ratios, spread

WIDTH, LEFT, RIGHT = 760, 300, 130
BAR, GAP, HEAD = 14, 4, 26
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #777 }
.title { font-weight: 600; fill: #777 }
.small { font-size: 11px }
.postern { fill: #2f81d6 } .postfix { fill: #b98a2f }
.span { stroke: #777; stroke-width: 1.5 }
.met { fill: #2b9a52; font-weight: 600 }
.missed { fill: #d1493f; font-weight: 600 }
@media (prefers-color-scheme: dark) { text, .title { fill: #b0b0b0 } }
@media (prefers-color-scheme: light) { text, .title { fill: #555 } }
"""


class _Drawing:
    def __init__(self):
        self.parts, self.y = [], 8

    def text(self, x, y, what, kind="", anchor="start"):
        self.parts.append(
            f'<text x="{x:.0f}" y="{y:.1f}" class="{kind}" '
            f'text-anchor="{anchor}">{escape(what)}</text>')

    def bar(self, product, found, most, digits):
        scale = (WIDTH - LEFT - RIGHT) / most
        y, middle = self.y, self.y + BAR / 2
        self.parts.append(
            f'<rect x="{LEFT}" y="{y}" width="{found.median * scale:.1f}" '
            f'height="{BAR}" rx="2" class="{product.lower()}"/>')
        if found.most > found.least:
            self.parts.append(
                f'<line x1="{LEFT + found.least * scale:.1f}" y1="{middle}" '
                f'x2="{LEFT + found.most * scale:.1f}" y2="{middle}" '
                'class="span"/>')
        self.text(LEFT - 8, y + BAR - 3, product, "small", "end")
        self.text(LEFT + max(found.median, found.most) * scale + 6,
                  y + BAR - 3, f"{found.median:,.{digits}f}", "small")
        self.y += BAR + GAP


def _verdict(drawing, row, runs, y):
    """The ratio at the right edge, coloured by its goal."""
    found, judged = ratios(runs, row.figure), judge(row, runs)
    kind = "" if judged is None else "met" if judged[1] else "missed"
    text = []
    if found and row.goal is None or row.goal and row.goal.of == "ratio":
        text.append(f"{found.median:.2g} ×")
    if row.goal:
        text.append(f"goal {row.goal.text()}")
    for i, line in enumerate(text):
        drawing.text(WIDTH - 4, y + 12 + i * 16, line, kind, "end")


def _chart(drawing, letter, title, row, runs):
    """Cases whose row has both products."""
    pair = [(name, spread(runs, name, row.figure))
            for name in ("Postern", "Postfix")]
    pair = [(name, found) for name, found in pair if found]
    if not pair:
        return
    drawing.text(4, drawing.y + 12, f"({letter}) {title}", "title")
    drawing.y += 20
    drawing.text(4, drawing.y + BAR - 3, row.label, "small")
    top, most = drawing.y, max(found.most for _, found in pair)
    for name, found in pair:
        drawing.bar(name, found, most or 1, row.digits)
    _verdict(drawing, row, runs, top)
    drawing.y += 10


def svg(results):
    drawing = _Drawing()
    for letter, result in results["cases"].items():
        if "absent" in result:
            continue
        rows = [row for row in result["rows"] if row.goal] or result["rows"]
        _chart(drawing, letter, result["title"], rows[0], result["runs"])
    height = drawing.y + 4
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
            f'height="{height}" viewBox="0 0 {WIDTH} {height}" role="img">\n'
            f"<title>Postern beside Postfix</title>\n<style>{STYLE}</style>\n"
            + "\n".join(drawing.parts) + "\n</svg>\n")
