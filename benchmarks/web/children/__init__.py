"""The processes that are started: an app that is asked, and the server that counts its calls."""
