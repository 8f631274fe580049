"""PubMed's XML as tables, and which record of a citation is the current one."""
