"""`kraken-l3 export`: verified data as tables (`tables`), and in other tools' formats (`formats`).

All of these commands take the options of `request.ExportRequest`; each declares only what is its own beside them.
"""
