"""Answers that are letters, where several of a list are to be named."""

from going_modular.teaching.exercises import Law

__all__ = ["only_letters", "read_letters"]


def read_letters(answer):
    """Letters in any order, case and collection, as one sorted string."""
    if isinstance(answer, str | list | tuple | set | dict):
        letters = "".join(map(str, answer)).lower().replace("and", "")
        return "".join(sorted({letter for letter in letters if letter.isalpha()}))
    return answer


def only_letters(of: str, example: str) -> Law:
    """The law that an answer is one or more of these letters, and nothing else."""
    words = f"answer with letters from {of[0]} to {of[-1]} in one string"
    return (
        f'{words}, such as "{example}"',
        lambda letters: set(letters) <= set(of) and letters != "",
    )
