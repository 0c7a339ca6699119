"""Programs that check, build and release the project. The wheel does not contain them."""
