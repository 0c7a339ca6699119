"""What the tests in a real browser need: the browser, sites with names of their own, a shop, a line that can be cut."""
