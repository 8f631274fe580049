"""What the tables hold of a drawn citation, from the model alone."""

import re

from citation_trees import records_of


def letters(parts):
    """The text of ``parts`` with that of their markup."""
    found = []
    for part in parts:
        if isinstance(part, str):
            found.append(part)
        elif part[0] == "mml:math":
            found.append("\n  " + letters(part[1]) + "=2 ")
        else:
            found.append(letters(part[1]))
    return "".join(found)


def plain(parts):
    """As the tables hold it."""
    return squeezed(letters(parts))


def squeezed(string):
    return re.sub("[ \t\r\n]+", " ", string).strip(" ") or None


def rows_of(model):
    """(articles, headings, deletes) of a whole file, headings and deletes in the tables' order."""
    articles, flat = [], []
    for record in records_of(model):
        row = book_row(record, len(articles)) if record["book"] else row_of(record, len(articles), model["old"])
        articles.append(row)
        flat += headings_of(record, row, model["old"])
    flat.sort(key=lambda h: (h["descriptor_ui"] is None, h["descriptor_ui"] or "", h["position"]))
    deletes = sorted((pmid, 1 if version is None else version) for pmid, version in model["deletes"] or [])
    return articles, flat, [{"pmid": pmid, "version": version} for pmid, version in deletes]


def row_of(model, position, old=False):
    has_data = model["has_data"] and not old
    dois = [text for kind, text in (model["ids"] if has_data else []) + model["eids"] if kind == "doi" and text.strip()]
    pmcs = [text for kind, text in (model["ids"] if has_data else []) if kind == "pmc" and text.strip()]
    comments = [{"type": kind, "pmid": pmid} for kind, pmid in model["comments"] or []]
    types = type_rows(model, old)
    found, precision = model["pubdate"][1:]
    if found is None and model["article_date"] is not None:
        found, precision = model["article_date"], "day"
    return {
        "pmid": model["pmid"],
        "version": model["version"] or 1,
        "position": position,
        "is_book": False,
        "status": model["status"],
        "title": plain(model["title"]),
        "vernacular_title": (model["vernacular"] and plain(model["vernacular"])) or None,
        **abstract_columns(model),
        "journal": squeezed(model["journal"] or ""),
        "journal_iso": squeezed(model["iso"] or ""),
        "nlm_journal_id": squeezed(model["nlm_id"] or ""),
        "issn": model["issn"],
        **date_columns(model, found, precision),
        "date_completed": model["completed"],
        "date_revised": model["revised"],
        "languages": [text.strip() for text in model["languages"] if text],
        "publication_types": types,
        "doi": dois[0].strip() if dois else None,
        "pmc_id": pmcs[0].strip() if pmcs else None,
        "keywords": keyword_rows(model),
        "authors": author_rows(model["authors"]),
        "references": [n for part in model["references"] for n in reference_rows(part)] if has_data else [],
        "chemicals": chemical_rows(model, old),
        "supplementary_concepts": [
            {"ui": ui, "name": squeezed(name), "type": kind} for ui, name, kind in model["concepts"] or []
        ],
        "comments_corrections": comments,
        "retracted": any(c["type"] == "RetractionIn" for c in comments) or is_retracted(types),
        "mesh_headings": [
            {
                "descriptor_ui": None if old else h["ui"],
                "major": h["major"] == "Y",
                "qualifiers": [
                    {"qualifier_ui": None if old else ui, "major": major == "Y"} for ui, major, _ in h["qualifiers"]
                ],
            }
            for h in model["headings"] or []
        ],
    }


def book_row(model, position):
    types = type_rows(model)
    return {
        "pmid": model["pmid"],
        "version": model["version"] or 1,
        "position": position,
        "is_book": True,
        "status": None,
        "title": plain(model["title"] or []) or plain(model["book_title"]),
        "vernacular_title": None,
        **abstract_columns(model),
        "journal": None,
        "journal_iso": None,
        "nlm_journal_id": None,
        "issn": None,
        **date_columns(model, *model["pubdate"][1:]),
        "date_completed": None,
        "date_revised": model["revised"],
        "languages": [text for text in model["languages"] if text],
        "publication_types": types,
        "doi": None,
        "pmc_id": None,
        "keywords": keyword_rows(model),
        # A chapter's own list counts where it has an author, even one of whom nothing is said.
        "authors": author_rows(model["authors"] or model["book_authors"]),
        "references": [n for part in model["references"] for n in reference_rows(part)],
        "chemicals": [],
        "supplementary_concepts": [],
        "comments_corrections": [],
        "retracted": is_retracted(types),
        "mesh_headings": [],
    }


def headings_of(model, row, old=False):
    return [
        {
            "pmid": row["pmid"],
            "version": row["version"],
            "position": row["position"],
            "descriptor_ui": None if old else heading["ui"],
            "descriptor_name": squeezed(heading["name"]),
            "major": "Y" in [heading["major"], *(major for _, major, _ in heading["qualifiers"])],
            "qualifier_uis": [] if old else [ui for ui, _, _ in heading["qualifiers"]],
        }
        for heading in ([] if model["book"] else model["headings"] or [])
    ]


def abstract_columns(model):
    parts = [
        {"label": squeezed(label or ""), "nlm_category": category or None, "text": plain(text) or ""}
        for label, category, text in model["abstract"] or []
    ]
    return {"abstract": " ".join(p["text"] for p in parts if p["text"]) or None, "abstract_sections": parts}


def date_columns(model, found, precision):
    return {
        "publication_date": " ".join(text for _, text in model["pubdate"][0]) or None,
        "published": found,
        "published_precision": precision,
        "year": found.year if found else None,
    }


def type_rows(model, old=False):
    rows = [{"ui": None if old else ui or None, "name": name or None} for ui, name in model["types"]]
    return [row for row in rows if row["ui"] or row["name"]]


def is_retracted(types):
    return any(t["ui"] == "D016441" or t["name"] == "Retracted Publication" for t in types)


def keyword_rows(model):
    return [plain(keyword) for each in model["keywords"] for keyword in each if plain(keyword)]


def chemical_rows(model, old):
    rows = [
        {"ui": None if old else ui, "name": squeezed(name), "registry_number": registry or None}
        for ui, name, registry in model["chemicals"] or []
    ]
    return [row for row in rows if any(row.values())]


def author_rows(models):
    rows = []
    for model in models or []:
        group = model["collective"] is not None
        row = {
            "last_name": None if group else plain(model["last"]),
            "fore_name": None if group else squeezed(model["fore"] or ""),
            "initials": None if group else squeezed(model["initials"] or ""),
            "suffix": None if group else plain(model["suffix"] or []),
            "collective_name": plain(model["collective"]) if group else None,
            "orcid": next((right for _, right in model["orcids"] if right), None),
            "affiliations": [plain(parts) for parts in model["affiliations"] if plain(parts)],
            "valid": model["valid"] != "N",
        }
        if any(value for name, value in row.items() if name != "valid"):
            rows.append(row)
    return rows


def reference_rows(model):
    own = [number for ids in model["references"] for kind, number in ids if kind == "pubmed" and number]
    return own + [number for part in model["lists"] for number in reference_rows(part)]
