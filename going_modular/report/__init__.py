"""What a finished run leaves to look at: report.html, one page that needs no network.

Read first: `findings`, the numbers; then `page`, which writes them down.
"""
