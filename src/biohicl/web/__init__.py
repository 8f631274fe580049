"""The search for people with a browser and for programs that speak HTTP: a page and a JSON interface."""
