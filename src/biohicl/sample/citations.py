"""The sample's citations, in NLM's XML, with what makes real ones hard.

Sections and unlabelled abstracts, inline markup, entities, MathML, dates without a year element, records without
abstract or headings, other languages, several versions of a PMID, revised and deleted records, comments that
hold other records' PMIDs, references with DOIs of their own, ORCIDs written in two ways, retracted articles, a
heading that MeSH has no more.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from biohicl.sample.world import Descriptor, Subject, World

FIRST_PMID = 990_000_001
_JOURNALS = [
    ("Journal of Invented Medicine", "J Invent Med", "99000001", "9900-0018"),
    ("Annals of Sample Biology", "Ann Sample Biol", "99000002", "9900-0026"),
    ("Acta Exempla", "Acta Exempl", "99000003", "9900-0034"),
    ("The Fictional Lancet Review", "Fict Lancet Rev", "99000004", "9900-0042"),
]
_SECTIONS = [
    ("BACKGROUND", "BACKGROUND"),
    ("METHODS", "METHODS"),
    ("RESULTS", "RESULTS"),
    ("CONCLUSION", "CONCLUSIONS"),
]
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
QUALIFIERS = [
    ("Q000188", "drug therapy"),
    ("Q000175", "diagnosis"),
    ("Q000503", "physiopathology"),
    ("Q000378", "metabolism"),
]
# Given by indexers once, and not in this year's MeSH: as headings are that were merged or dropped.
OUTDATED_HEADING = """        <MeshHeading>
          <DescriptorName UI="D990000001" MajorTopicYN="N">A Heading of Former Years</DescriptorName>
        </MeshHeading>
"""
_SURNAMES = [
    "Ahlgren",
    "Banerji",
    "Castellu",
    "Drozdow",
    "Eteki",
    "Fujimoro",
    "Gr\u00f8nvold",
    "Hassani",
    "Iwu",
    "Jansma",
]
_XML_HEAD = (
    '<?xml version="1.0" encoding="utf-8"?>\n'
    '<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle, 1st January 2019//EN" '
    '"https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_190101.dtd">\n<PubmedArticleSet>\n'
)


@dataclass(frozen=True)
class Citation:
    """One record to be written; ``rewrite`` distinguishes revisions of the same PMID."""

    pmid: int
    version: int = 1
    rewrite: int = 0


def citation_set_xml(world: World, citations: Sequence[Citation], deleted: Sequence[int] = ()) -> str:
    """A PubmedArticleSet of ``citations``, then the deletes."""
    parts = [_XML_HEAD]
    for place, citation in enumerate(citations):
        if place == 2:
            parts.append("<!-- a comment and a processing instruction between records -->\n<?sample between?>\n")
        parts.append(article_xml(world, citation))
    if deleted:
        rows = "\n".join(f'<PMID Version="1">{pmid}</PMID>' for pmid in deleted)
        parts.append(f"  <DeleteCitation>\n{rows}\n</DeleteCitation>\n")
    parts.append("</PubmedArticleSet>\n")
    return "".join(parts)


def article_xml(world: World, citation: Citation) -> str:
    """One PubmedArticle; what it is about depends on the PMID, its wording also on version and rewrite."""
    subject = world.subject(random.Random(f"subject of {citation.pmid}"))
    draw = random.Random(f"text of {citation.pmid} {citation.version} {citation.rewrite}")
    words = world.vocabulary(draw, subject)
    indexed = draw.random() < 0.93
    foreign = draw.random() < 0.05
    title = _marked_up(draw, world.title(draw, words, subject.who))
    abstract = _abstract_xml(world, draw, words, subject.who) if draw.random() < 0.92 else ""
    if citation.pmid % 331 == 0:
        title = ""
    retracted = citation.pmid % 401 == 0
    journal, iso, journal_id, issn = _JOURNALS[citation.pmid % len(_JOURNALS)]
    year = 1990 + draw.randint(0, 35)
    status = "MEDLINE" if indexed else "In-Process"
    vernacular = (
        f"        <VernacularTitle>{escape(world.title(draw, words, subject.who))}.</VernacularTitle>\n"
        if foreign
        else ""
    )
    pieces = [
        f'  <PubmedArticle>\n    <MedlineCitation Status="{status}" Owner="NLM">\n'
        f'      <PMID Version="{citation.version}">{citation.pmid}</PMID>\n',
        f"      <DateRevised>\n        <Year>2098</Year>\n        <Month>{1 + citation.rewrite:02d}</Month>\n"
        "        <Day>07</Day>\n      </DateRevised>\n",
        '      <Article PubModel="Print-Electronic">\n        <Journal>\n'
        f'          <ISSN IssnType="Print">{issn}</ISSN>\n          <JournalIssue CitedMedium="Print">\n'
        f"            <Volume>{year - 1980}</Volume>\n{_date_xml(draw, year)}          </JournalIssue>\n"
        f"          <Title>{journal}</Title>\n          <ISOAbbreviation>{iso}</ISOAbbreviation>\n        </Journal>\n",
        f"        <ArticleTitle>{f'[{title}]' if foreign and title else title}</ArticleTitle>\n",
        f'        <ELocationID EIdType="doi" ValidYN="Y">10.9900/sample.{citation.pmid}</ELocationID>\n',
        abstract,
        _authors_xml(draw, citation.pmid),
        f"        <Language>{'nor' if foreign else 'eng'}</Language>\n",
        '        <PublicationTypeList>\n          <PublicationType UI="D016428">Journal Article</PublicationType>\n',
        '          <PublicationType UI="D016441">Retracted Publication</PublicationType>\n' if retracted else "",
        "        </PublicationTypeList>\n",
        vernacular,
        "      </Article>\n",
        f"      <MedlineJournalInfo>\n        <MedlineTA>{iso}</MedlineTA>\n"
        f"        <NlmUniqueID>{journal_id}</NlmUniqueID>\n      </MedlineJournalInfo>\n",
        _chemicals_xml(citation.pmid) if citation.pmid % 4 == 0 else "",
        _comments_xml(citation.pmid, retracted) if draw.random() < 0.05 or retracted else "",
        _headings_xml(draw, subject, citation.pmid % 97 == 0) if indexed else "",
        _keywords_xml(words) if citation.pmid % 3 == 0 else "",
        "    </MedlineCitation>\n",
        _pubmed_data_xml(citation.pmid, world.topics.index(subject.focus)),
        "  </PubmedArticle>\n",
    ]
    return "".join(pieces)


def _abstract_xml(world: World, draw: random.Random, words: list[str], who: Sequence[str]) -> str:
    if draw.random() < 0.3:
        parts = []
        for label, category in _SECTIONS:
            sentences = " ".join(world.sentence(draw, words, who) for _ in range(draw.randint(1, 3)))
            text = _marked_up(draw, sentences)
            parts.append(f'          <AbstractText Label="{label}" NlmCategory="{category}">{text}</AbstractText>\n')
        return "        <Abstract>\n" + "".join(parts) + "        </Abstract>\n"
    sentences = " ".join(world.sentence(draw, words, who) for _ in range(draw.randint(4, 9)))
    return f"        <Abstract>\n          <AbstractText>{_marked_up(draw, sentences)}</AbstractText>\n        </Abstract>\n"


def _marked_up(draw: random.Random, text: str) -> str:
    """``text`` as XML, now and then with inline markup, entities, MathML or a line break as NLM's has them."""
    text = escape(text)
    chance = draw.random()
    if chance < 0.06:
        first, _, rest = text.partition(" ")
        return f"<i>{first}</i> {rest}"
    if chance < 0.09:
        return f"{text} The level of TiO<sub>2</sub> was 10<sup>-3</sup> (<i>P</i> &lt; 0.05)."
    if chance < 0.12:
        return f"{text} NF-&#954;B &amp; TNF-\u03b1 rose."
    if chance < 0.14:
        return (
            f'{text} <mml:math xmlns:mml="http://www.w3.org/1998/Math/MathML">\n  <mml:mi>R</mml:mi>\n'
            "  <mml:mo>=</mml:mo>\n  <mml:mn>2</mml:mn>\n</mml:math> held."
        )
    if chance < 0.16:
        return text.replace(". ", ".\n        ", 1)
    return text


def _date_xml(draw: random.Random, year: int) -> str:
    chance = draw.random()
    month = draw.choice(_MONTHS)
    if chance < 0.07:
        inner = f"<MedlineDate>{year} {month}-{_MONTHS[(_MONTHS.index(month) + 1) % 12]}</MedlineDate>"
    elif chance < 0.1:
        inner = f"<Year>{year}</Year>\n              <Season>Spring</Season>"
    elif chance < 0.5:
        inner = f"<Year>{year}</Year>\n              <Month>{month}</Month>"
    else:
        inner = (
            f"<Year>{year}</Year>\n              <Month>{month}</Month>\n              <Day>{draw.randint(1, 28)}</Day>"
        )
    return f"            <PubDate>\n              {inner}\n            </PubDate>\n"


def _authors_xml(draw: random.Random, pmid: int) -> str:
    rows = []
    for place in range(draw.randint(1, 4)):
        initial = draw.choice("ABCDEFGHJKLM")
        rows.append(
            f'          <Author ValidYN="Y">\n            <LastName>{draw.choice(_SURNAMES)}</LastName>\n'
            f"            <ForeName>{initial}</ForeName>\n            <Initials>{initial}</Initials>\n"
            f"{_who_and_where_xml(pmid) if place == 0 and pmid % 5 == 0 else ''}          </Author>\n"
        )
    if draw.random() < 0.03:
        rows.append(
            '          <Author ValidYN="Y">\n            <CollectiveName>Sample Study Group</CollectiveName>\n          </Author>\n'
        )
    return '        <AuthorList CompleteYN="Y">\n' + "".join(rows) + "        </AuthorList>\n"


def _who_and_where_xml(pmid: int) -> str:
    # Beyond the numbers that ORCID gives out.
    orcid = f"9900-0000-{pmid % 10000:04d}-{pmid % 1000:03d}X"
    written = f"https://orcid.org/{orcid}" if pmid % 2 else orcid
    return (
        f'            <Identifier Source="ORCID">{written}</Identifier>\n            <AffiliationInfo>\n'
        "              <Affiliation>Department of Examples, University of Nowhere &amp; Elsewhere.</Affiliation>\n"
        "            </AffiliationInfo>\n"
    )


def _chemicals_xml(pmid: int) -> str:
    return (
        "      <ChemicalList>\n        <Chemical>\n          <RegistryNumber>0</RegistryNumber>\n"
        f'          <NameOfSubstance UI="C99{pmid % 7:04d}">invented substance {pmid % 7}</NameOfSubstance>\n'
        "        </Chemical>\n      </ChemicalList>\n"
    )


def _keywords_xml(words: Sequence[str]) -> str:
    rows = "".join(f'        <Keyword MajorTopicYN="N">{escape(word)}</Keyword>\n' for word in words[:3])
    return f'      <KeywordList Owner="NOTNLM">\n{rows}      </KeywordList>\n'


def _headings_xml(draw: random.Random, subject: Subject, outdated: bool) -> str:
    rows = [OUTDATED_HEADING] if outdated else []
    for place, descriptor in enumerate(sorted(subject.labels, key=lambda d: d.name)):
        topic = descriptor not in subject.tags
        rows.append(_heading_xml(draw, descriptor, descriptor is subject.focus, topic and place % 2 == 0))
    return "      <MeshHeadingList>\n" + "".join(rows) + "      </MeshHeadingList>\n"


def _heading_xml(draw: random.Random, descriptor: Descriptor, focus: bool, qualified: bool) -> str:
    # NLM marks most major topics on a qualifier, not on the descriptor.
    qualifier = ""
    if qualified:
        ui, name = draw.choice(QUALIFIERS)
        flag = "Y" if focus else "N"
        qualifier = f'\n          <QualifierName UI="{ui}" MajorTopicYN="{flag}">{name}</QualifierName>'
    major = "Y" if focus and not qualified else "N"
    name = escape(descriptor.name)
    return (
        f'        <MeshHeading>\n          <DescriptorName UI="{descriptor.ui}" MajorTopicYN="{major}">{name}</DescriptorName>'
        f"{qualifier}\n        </MeshHeading>\n"
    )


def _comments_xml(pmid: int, retracted: bool) -> str:
    kind = "RetractionIn" if retracted else "CommentIn"
    return (
        f'      <CommentsCorrectionsList>\n        <CommentsCorrections RefType="{kind}">\n'
        "          <RefSource>Acta Exempl. 2020;1(1):1</RefSource>\n"
        f'          <PMID Version="1">{pmid - 1}</PMID>\n        </CommentsCorrections>\n      </CommentsCorrectionsList>\n'
    )


def _pubmed_data_xml(pmid: int, topic: int) -> str:
    # Who writes on one subject cites the same two old articles.
    classics = [FIRST_PMID - 1_000_000 + 2 * topic + number for number in (0, 1)]
    references = "".join(
        "        <Reference>\n          <Citation>An invented reference.</Citation>\n"
        "          <ArticleIdList>\n"
        f'            <ArticleId IdType="pubmed">{cited}</ArticleId>\n'
        f'            <ArticleId IdType="doi">10.9900/other.{cited}</ArticleId>\n'
        "          </ArticleIdList>\n        </Reference>\n"
        for cited in [pmid - 2, *classics]
    )
    return (
        "    <PubmedData>\n      <PublicationStatus>ppublish</PublicationStatus>\n      <ArticleIdList>\n"
        f'        <ArticleId IdType="pubmed">{pmid}</ArticleId>\n'
        f'        <ArticleId IdType="doi">10.9900/sample.{pmid}</ArticleId>\n      </ArticleIdList>\n'
        f"      <ReferenceList>\n{references}      </ReferenceList>\n    </PubmedData>\n"
    )
