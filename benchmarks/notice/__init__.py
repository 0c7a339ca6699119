"""What users notice of requests that meet on one session: a browser-like load on three frameworks, in virtual time."""
