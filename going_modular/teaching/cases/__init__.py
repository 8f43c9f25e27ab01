"""Hidden cases, usual mistakes and hints: a file for each notebook's exercises.

Do the exercises before you read them: the right answers are in here, too.
"""
