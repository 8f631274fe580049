"""The sample's MeSH: the excerpt in NLM's descriptor XML."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape

from biohicl.sample.citations import QUALIFIERS
from biohicl.sample.world import Descriptor

YEAR = 2099
# The qualifiers that the sample's citations have, with NLM's abbreviations.
_ABBREVIATIONS = ["DT", "DI", "PP", "ME"]
_QUALIFIERS_XML = (
    "  <AllowableQualifiersList>\n"
    + "".join(
        "   <AllowableQualifier>\n    <QualifierReferredTo>\n"
        f"     <QualifierUI>{ui}</QualifierUI>\n     <QualifierName>\n      <String>{name}</String>\n"
        f"     </QualifierName>\n    </QualifierReferredTo>\n    <Abbreviation>{short}</Abbreviation>\n"
        "   </AllowableQualifier>\n"
        for (ui, name), short in zip(QUALIFIERS, _ABBREVIATIONS, strict=True)
    )
    + "  </AllowableQualifiersList>"
)


def descriptor_xml(descriptors: Iterable[Descriptor]) -> str:
    """A DescriptorRecordSet; one concept a descriptor, its name, and the name turned round at a comma as a synonym."""
    lines = ['<?xml version="1.0"?>', '<DescriptorRecordSet LanguageCode="eng">']
    for descriptor in descriptors:
        kind = 4 if all(number[0] == "Z" for number in descriptor.tree_numbers) else 1
        lines += [
            f'<DescriptorRecord DescriptorClass="{kind if descriptor.tree_numbers else 3}">',
            f"  <DescriptorUI>{descriptor.ui}</DescriptorUI>",
            f"  <DescriptorName>\n   <String>{escape(descriptor.name)}</String>\n  </DescriptorName>",
        ]
        if descriptor.tree_numbers and kind == 1:
            lines.append(_QUALIFIERS_XML)
        if descriptor.tree_numbers:
            numbers = "\n".join(f"   <TreeNumber>{number}</TreeNumber>" for number in descriptor.tree_numbers)
            lines.append(f"  <TreeNumberList>\n{numbers}\n  </TreeNumberList>")
        lines.append(_concept(descriptor))
        lines.append(" </DescriptorRecord>")
    lines.append("</DescriptorRecordSet>")
    return "\n".join(lines) + "\n"


def _concept(descriptor: Descriptor) -> str:
    number = descriptor.ui[1:]
    names = [descriptor.name]
    if descriptor.name.count(", ") == 1:
        last, first = descriptor.name.split(", ")
        names.append(f"{first} {last}")
    terms = "\n".join(
        f'     <Term ConceptPreferredTermYN="{yes}" IsPermutedTermYN="N" LexicalTag="NON" RecordPreferredTermYN="{yes}">\n'
        f"      <TermUI>T{number}{place:03d}</TermUI>\n      <String>{escape(name)}</String>\n     </Term>"
        for place, name in enumerate(names)
        for yes in ["N" if place else "Y"]
    )
    return (
        '  <ConceptList>\n   <Concept PreferredConceptYN="Y">\n'
        f"    <ConceptUI>M{number}</ConceptUI>\n"
        f"    <ConceptName>\n     <String>{escape(descriptor.name)}</String>\n    </ConceptName>\n"
        f"    <ScopeNote>{escape(descriptor.scope_note)}\n    </ScopeNote>\n"
        f"    <TermList>\n{terms}\n    </TermList>\n   </Concept>\n  </ConceptList>"
    )
