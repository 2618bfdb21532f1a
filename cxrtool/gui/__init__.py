"""The local page: images dropped in a browser, findings and heat maps beside them."""
