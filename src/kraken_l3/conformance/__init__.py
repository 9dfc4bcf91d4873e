"""What is known of Kraken's protocol, as checks that any server can be held against.

A run (`run.conversation`) talks to a server and writes down what was said (`transcript`); each check in `checks` is a
function of what was written down. So a check can be tried on a changed transcript, and none provokes anything by
itself. Nothing here comes from `exchange`, `capture`, `protocol` or `book`: an error there cannot hide here.
"""
