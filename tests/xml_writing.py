"""XML written in every way that says the same: what a ``Style`` changes must not matter to any reader."""

import gzip
import random
from dataclasses import dataclass

from hypothesis import strategies as st


@dataclass(frozen=True)
class Style:
    """How a tree is written: the first value of each is the plainest."""

    seed: int = 0
    single_quotes: bool = False
    attribute_order: bool = False
    space_in_tags: bool = False
    long_empties: bool = False
    comments: bool = False
    instructions: bool = False
    cdata: bool = False
    character_references: bool = False
    indented: bool = False
    padded: bool = False
    line_end: str = "\n"
    declaration: str = "full"  # full, none, version
    encoding: str = "utf-8"
    byte_order_mark: bool = False
    doctype: bool = False
    around: bool = False
    packing: str = "plain"  # plain, gzip, members
    filler: int = 0  # bytes of white space and comments, somewhere


styles = st.builds(
    Style,
    seed=st.integers(0, 2**32),
    single_quotes=st.booleans(),
    attribute_order=st.booleans(),
    space_in_tags=st.booleans(),
    long_empties=st.booleans(),
    comments=st.booleans(),
    instructions=st.booleans(),
    cdata=st.booleans(),
    character_references=st.booleans(),
    indented=st.booleans(),
    padded=st.booleans(),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    declaration=st.sampled_from(["full", "none", "version"]),
    encoding=st.sampled_from(["utf-8", "utf-8", "UTF-8", "utf-16-le", "utf-16-be", "iso-8859-1", "us-ascii"]),
    byte_order_mark=st.booleans(),
    doctype=st.booleans(),
    around=st.booleans(),
    packing=st.sampled_from(["plain", "gzip", "members"]),
    filler=st.sampled_from([0, 0, 0, 0, 700_000]),
)
COMMENTS = [
    *(" a comment ", "", "</PubmedArticle>", "<PMID Version='1'>999</PMID>", "- ->", "->", "<PubmedArticle>", "]]>"),
    *("<![CDATA[", "&nosuch;", "</PubmedArticleSet>", "<ArticleTitle>no</ArticleTitle>", "<?x", "?>", "<!- ", "a - b"),
    *("</MedlineCitation></PubmedArticle><PubmedArticle><MedlineCitation>", "<!DOCTYPE x>", "'", '"'),
]
INSTRUCTIONS = [
    *(
        "x",
        "xml-stylesheet href='a>b.xsl'",
        "PMID 999",
        "y </PubmedArticle>",
        "z ?",
        "z ??",
        "w <PMID>1</PMID>",
        "v -->",
    ),
    *("u ]]>", "t <![CDATA[", "s <!--", "r &nosuch;", "q > ? >"),
]


class Writer:
    def __init__(self, style):
        self.style = style
        self.random = random.Random(style.seed)
        self.out = []
        self.codec = style.encoding if style.encoding[:3] != "utf" else "utf-8"

    def often(self, flag, share=0.3):
        return flag and self.random.random() < share

    def space(self, needed=True):
        """White space inside a tag."""
        if self.often(self.style.space_in_tags, 0.5):
            return self.random.choice([" ", "  ", "\n", "\t", " \n\t "]).replace("\n", self.style.line_end)
        return " " if needed else ""

    def equal_sign(self):
        return self.space(False) + "=" + self.space(False)

    def element(self, node, depth=0):
        self.out.append(self.opened(node))
        if not node.content and not self.often(self.style.long_empties, 0.5):
            self.out[-1] += "/>"
            return
        self.out[-1] += ">"
        if depth == 0:
            self.out.append(filler(self.style))
        if node.mixed and self.style.padded and not self.in_mixed:
            self.out.append(self.random.choice(["", " ", self.style.line_end + "  "]))
        outer, self.in_mixed = self.in_mixed, self.in_mixed or node.mixed
        for part in node.content:
            self.between(node, depth + 1)
            if isinstance(part, str):
                self.text(part)
            else:
                self.element(part, depth + 1)
        self.between(node, depth)
        self.in_mixed = outer
        if node.mixed and self.style.padded and not self.in_mixed:
            self.out.append(self.random.choice(["", " ", self.style.line_end + "  "]))
        self.out.append(f"</{node.tag}{self.space(False)}>")

    in_mixed = False

    def opened(self, node):
        attributes = list(node.attributes.items())
        if self.style.attribute_order:
            self.random.shuffle(attributes)
        tag = f"<{node.tag}"
        for name, value in attributes:
            written = name.replace("xmlns_", "xmlns:")
            tag += f"{self.space()}{written}{self.equal_sign()}{self.quoted(value)}"
        return tag + self.space(False)

    def quoted(self, value):
        quote = "'" if self.often(self.style.single_quotes, 0.5) else '"'
        return quote + "".join(self.character(c, quote + "<&\t\r\n") for c in value) + quote

    def character(self, character, special):
        """As itself, as a reference by name, or by number."""
        by_name = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "'": "&apos;", '"': "&quot;"}
        try:
            character.encode(self.codec)
            must = character in special
        except UnicodeEncodeError:
            must = True
        if not must and not self.often(self.style.character_references, 0.1):
            return character
        if character in by_name and self.random.random() < 0.6:
            return by_name[character]
        code = ord(character)
        return self.random.choice([f"&#{code};", f"&#x{code:x};", f"&#x{code:X};", f"&#0{code};", f"&#x00{code:x};"])

    def text(self, string):
        place = 0
        while place < len(string):
            if self.often(self.style.comments or self.style.instructions, 0.05):
                self.aside()
            piece = string[place : place + self.random.randint(1, 9)]
            if self.often(self.style.cdata) and self.fits_cdata(piece):
                self.out.append(f"<![CDATA[{piece.replace(chr(10), self.style.line_end)}]]>")
                place += len(piece)
                continue
            written = self.character(string[place], "<&\r")
            if written == ">" and (self.random.random() < 0.5 or "".join(self.out[-2:]).endswith("]]")):
                written = "&gt;"
            self.out.append(self.style.line_end if written == "\n" else written)
            place += 1

    def fits_cdata(self, piece):
        try:
            piece.encode(self.codec)
        except UnicodeEncodeError:
            return False
        return "]]>" not in piece and "\r" not in piece

    def between(self, node, depth):
        if self.style.indented and not node.mixed:
            self.out.append(self.style.line_end + "  " * depth)
        if self.often(self.style.comments or self.style.instructions, 0.1):
            self.aside()

    def aside(self):
        """A comment, an instruction or an empty CDATA section, whichever the style has."""
        kinds = [self.style.comments and "comment", self.style.instructions and "instruction"]
        kind = self.random.choice([k for k in kinds if k])
        if kind == "comment":
            self.out.append(f"<!--{self.random.choice(COMMENTS)}-->")
        else:
            self.out.append(f"<?{self.random.choice(INSTRUCTIONS)}?>")

    def document(self, root):
        style = self.style
        end = style.line_end
        plain_utf = style.encoding.lower() == "utf-8" or style.encoding.startswith("utf-16")
        name = "utf-16" if style.encoding.startswith("utf-16") else style.encoding
        declaration = "full" if not plain_utf else style.declaration
        if declaration != "none":
            encoding = f"{self.space()}encoding{self.equal_sign()}'{name}'" if declaration == "full" else ""
            self.out.append(f'<?xml{self.space()}version{self.equal_sign()}"1.0"{encoding}{self.space(False)}?>')
        self.outside()
        if style.doctype:
            identifier = self.random.choice(
                [
                    'SYSTEM "https://nowhere.invalid/a.dtd"',
                    "SYSTEM 'https://nowhere.invalid/a>b.dtd'",
                    f'PUBLIC "-//NLM//DTD PubMedArticle, 1st January 2025//EN"{end}"https://nowhere.invalid/pubmed.dtd"',
                ]
            )
            self.out.append(f"<!DOCTYPE {root.tag} {identifier}{self.space(False)}>{end}")
            self.outside()
        self.element(root)
        self.outside()
        return "".join(self.out)

    def outside(self):
        if self.style.around:
            self.out.append(self.style.line_end)
            self.out.append(f"<!--{self.random.choice(COMMENTS)}-->{self.style.line_end}")
            self.out.append(f"<?{self.random.choice(INSTRUCTIONS)}?>")


def serialised(root, style=Style()):
    """The bytes of a file."""
    writer = Writer(style)
    written = writer.document(root)
    wide = style.encoding.startswith("utf-16")
    data = written.encode(style.encoding)
    if wide or (style.byte_order_mark and style.encoding.lower() == "utf-8"):
        data = "\ufeff".encode(style.encoding) + data
    return packed(data, style.packing, random.Random(style.seed))


def filler(style):
    """Much white space and comments before the first record, so that pieces of a file end anywhere in the rest."""
    unit = " " * 60 + "\n<!-- > -->"
    return (unit * ((style.filler + style.seed % 300_000) // len(unit))) if style.filler else ""


def packed(data, packing, chance):
    if packing == "plain":
        return data
    if packing == "gzip":
        return gzip.compress(data, chance.choice([0, 1, 6, 9]), mtime=chance.choice([0, 1_600_000_000]))
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randint(1, 4)))
    parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return b"".join(gzip.compress(part, chance.choice([1, 6])) for part in parts)
