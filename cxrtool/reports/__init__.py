"""An evaluation for people: the page, pictures, tables for papers."""
