"""Time and memory of the MeSH parser on a file of the size of NLM's: `make bench-mesh`.

Generates a descriptor file (31,000 records, 313 MB of XML; a scope note, qualifiers, and 4 concepts of 3 terms each, with
the elements around them that NLM has and the tables leave out), parses it by `biohicl parse-mesh` in a process of its
own, prints seconds, CPU seconds and peak resident memory, and counts the rows.

    python tests/bench_mesh.py [--records 31000]
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TERM = """     <Term ConceptPreferredTermYN="{first}" IsPermutedTermYN="N" LexicalTag="NON" RecordPreferredTermYN="{only}">
      <TermUI>T{ui}{concept}{term}</TermUI><String>A term &amp; name {concept}.{term} of {ui}</String>
      <DateCreated><Year>1999</Year><Month>01</Month><Day>01</Day></DateCreated>
      <ThesaurusIDlist><ThesaurusID>INVENTED (2099)</ThesaurusID></ThesaurusIDlist>
     </Term>
"""
CONCEPT = """   <Concept PreferredConceptYN="{first}"><ConceptUI>M{ui}{concept}</ConceptUI>
    <ConceptName><String>Concept {concept} of {ui}</String></ConceptName>
    <RegistryNumberList><RegistryNumber>0</RegistryNumber></RegistryNumberList>
    {note}
    <ConceptRelationList><ConceptRelation RelationName="NRW"><Concept1UI>M{ui}0</Concept1UI>
     <Concept2UI>M{ui}{concept}</Concept2UI></ConceptRelation></ConceptRelationList>
    <TermList>
{terms}    </TermList></Concept>
"""
QUALIFIER = """   <AllowableQualifier><QualifierReferredTo><QualifierUI>Q{number:06d}</QualifierUI>
    <QualifierName><String>qualifier {number}</String></QualifierName></QualifierReferredTo>
    <Abbreviation>Q{letter}</Abbreviation></AllowableQualifier>
"""
CONCEPTS, TERMS, QUALIFIERS, NUMBERS = 4, 3, 12, 2


def record(number, filler, note="x" * 400):
    ui = f"{number:06d}"
    concepts = "".join(
        CONCEPT.format(
            first="N" if concept else "Y",
            ui=ui,
            concept=concept,
            note="" if concept else f"<ScopeNote>What {ui} means. {note}\n    </ScopeNote>",
            terms="".join(
                TERM.format(
                    first="N" if term else "Y", only="N" if term or concept else "Y", ui=ui, concept=concept, term=term
                )
                for term in range(TERMS)
            ),
        )
        for concept in range(CONCEPTS)
    )
    qualifiers = "".join(
        QUALIFIER.format(number=(number + place) % 76, letter=chr(65 + place)) for place in range(QUALIFIERS)
    )
    numbers = "".join(
        f"   <TreeNumber>{chr(65 + place)}{number % 90 + 10}.{number // 90 % 900 + 100}</TreeNumber>\n"
        for place in range(NUMBERS)
    )
    return (
        f' <DescriptorRecord DescriptorClass="1"><DescriptorUI>D{ui}</DescriptorUI>\n'
        f"  <DescriptorName><String>Descriptor {ui}</String></DescriptorName>\n"
        f"  <AllowableQualifiersList>\n{qualifiers}  </AllowableQualifiersList>\n"
        f"  <HistoryNote>{filler}</HistoryNote>\n  <TreeNumberList>\n{numbers}  </TreeNumberList>\n"
        f"  <ConceptList>\n{concepts}  </ConceptList>\n </DescriptorRecord>\n"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=31_000)
    parser.add_argument("--megabytes", type=float, default=313, help="of XML, for 31,000 records")
    options = parser.parse_args()
    size = options.megabytes * 1e6 / 31_000
    filler = "x" * int(size - len(record(1, "")))
    with tempfile.TemporaryDirectory() as folder:
        file, output = Path(folder) / "desc2099.gz", Path(folder) / "mesh"
        written = 0
        with gzip.open(file, "wt", compresslevel=1) as stream:
            written += stream.write('<?xml version="1.0"?>\n<DescriptorRecordSet LanguageCode="eng">\n')
            for number in range(options.records):
                written += stream.write(record(number, filler))
            written += stream.write("</DescriptorRecordSet>\n")
        print(f"{options.records:,} records, {written / 1e6:.0f} MB of XML, {file.stat().st_size / 1e6:.0f} MB packed")
        command = [sys.executable, "-m", "biohicl", "--threads", "1", "parse-mesh", str(file), "--output", str(output)]
        started = time.monotonic()
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
            said = process.stderr.read().decode()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(said)
        took = {"wall s": time.monotonic() - started, "CPU s": usage.ru_utime + usage.ru_stime}
        print(", ".join(f"{seconds:.1f} {name}" for name, seconds in took.items()), end=", ")
        print(f"peak {usage.ru_maxrss / 1024:.0f} MB")
        check(output, options.records)


def check(folder, records):
    import pyarrow.parquet as pq

    found = {path.stem: pq.read_metadata(path).num_rows for path in sorted(folder.iterdir())}
    expected = {
        "allowed_qualifiers": records * QUALIFIERS,
        "concepts": records * CONCEPTS,
        "descriptors": records,
        "scope_notes": records,
        "terms": records * CONCEPTS * TERMS,
        "tree_numbers": records * NUMBERS,
    }
    print(json.dumps(found))
    if found != expected:
        sys.exit(f"expected {json.dumps(expected)}")


if __name__ == "__main__":
    main()
