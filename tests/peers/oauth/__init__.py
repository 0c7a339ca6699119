"""OAuth logins through Authlib's clients for Flask, Starlette and Django, whose state is kept in these sessions."""
