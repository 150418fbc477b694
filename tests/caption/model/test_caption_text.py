"""Caption words: tokens are the scorers' own, and a vocabulary loses nothing that it knows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caption.model.text import END, SPECIAL, START, UNKNOWN, Vocabulary, detokenize, tokenize

CAPTIONS = Path(__file__).parents[4] / "shared" / "data" / "flickr8k-dev.tsv"

TRICKY = """\
A dog's bone, the dogs' bones and James's dog .
A man can't see the girl's dog; it isn't there, and won't be.
They're here, we've gone, I'll go, he'd go, I'm on. She shouldn't've.
He cannot go. He's gonna wanna gotta gimme lemme
'Tis the season, 'twas the '80s and the 1980's, not the 80s
Slip 'n' slide, rock 'n roll, rock'n'roll, catch 'em, ol' dog, lil' dog, goin' fishin'
o'clock O'Brien's y'all ma'am c'mon s'mores li'l
It\u2019s the dog\u2019s bone \u2018quoted\u2019 \u201cdouble\u201d \u2013 with \u2014 dashes\u2026
a "quoted" word and 'single' word, "hello." and "hello".
three dogs ( one brown ) and (two) {braces} [brackets] one(two)three
a man--with a hat -- walks - away... and . . . stops ..
Really?! Yes?? Go!!! Hi!
black/white and/or w/ a b/c 24/7 AC/DC man/woman/child
T-shirt tee-shirt t - shirt two-year-old boy's 3-wheeler mother-in-law's cut-outs
AT&T, at&t, at & t, R&B, M & M's, m&m's
It costs $5.00 or $1,000,000 or 50% or 5 cents, $.50, US$5, \u00a35
#1 dad, # 1, #7's jersey ( # 7 ) C# and C++ @ the park, @home
at 10:30 a.m. in the U.S. with Mr. Smith, Dr. Who, St. Louis and Dale Earnhardt , Jr. ,
3:00pm 3pm 12:30PM 5-6 people, 1/2 mile, 6/12/2005, he is 5'10" tall
1,2,3 and 1, 2, 3 and 1.5 and .5 and 5. +5 -5 1+1=2
word,word word.Word word;word word:word ice-cream,cake a_b
Newspapers in Washington D.C.
Washington, D.C., in the U.K. Then he goes. The letter B. The dog. B. Dogs
a letter " P. "
this is no. 5 and I am No. 1, no. vs. me etc. The end
A young boy wearing Mr. Potato Head teeth on Main St. The Co. Inc. Corp. Jan. 5
A S.C.U.B.A. diver near an R.V.
I.D. ID. tv. TV. T.V. mass. Mass. pa. Pa.
a caf\u00e9, na\u00efve jalape\u00f1o, \u4e2d\u6587
see http://www.example.com/foo or me@example.com <b>bold</b>
a * b = c ^ d ~ e | f \\ g ** \u00b0 \u00a9
ALL CAPS DON'T CAN'T IT'S""".splitlines()


def scorers_tokens(captions: list[str]) -> list[str]:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    found = PTBTokenizer().tokenize({row: [{"caption": text}] for row, text in enumerate(captions)})
    return [found[row][0] for row in range(len(captions))]


needs_java = pytest.mark.skipif(
    shutil.which("java") is None, reason="the scorers' tokenizer is a Java program"
)


@needs_java
def test_tricky_captions_become_the_scorers_tokens() -> None:
    assert [" ".join(tokenize(caption)) for caption in TRICKY] == scorers_tokens(TRICKY)


@needs_java
@pytest.mark.skipif(not CAPTIONS.is_file(), reason="Flickr8k is not beside the repository")
def test_all_of_flickr8k_dev_becomes_the_scorers_tokens() -> None:
    lines = CAPTIONS.read_text(encoding="utf-8").rstrip("\n").split("\n")[1:]
    captions = [line.split("\t")[1] for line in lines]
    assert [" ".join(tokenize(caption)) for caption in captions] == scorers_tokens(captions)


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("A dog's bone , and the dogs don't mind .", "a dog 's bone and the dogs do n't mind"),
        ("Two men ( in T-shirts ) at 10:30 in Washington D.C.", "-lrb- in t-shirts -rrb- at 10:30"),
        ("She cannot see Mr. Potato-Head!", "she can not see mr. potato-head"),
    ],
)
def test_tokens_need_no_java(caption: str, tokens: str) -> None:
    assert tokens in " ".join(tokenize(caption))


@given(st.text())
def test_any_text_has_tokens_without_spaces_or_capitals(text: str) -> None:
    for token in tokenize(text):
        assert token and token == token.lower() and len(token.split()) == 1


def test_contractions_are_joined_again_for_people() -> None:
    said = "a dog 's owner is n't here but she 'll come and they 're 'round"
    assert detokenize(said.split()) == "a dog's owner isn't here but she'll come and they're 'round"


WORDS = st.lists(st.sampled_from("a dog's man isn't t-shirt they're can't runs".split()), max_size=9)


@given(WORDS)
def test_what_is_encoded_is_decoded(words: list[str]) -> None:
    vocabulary = Vocabulary.of(["a dog's man isn't t-shirt they're can't runs"], least=1)
    caption = " ".join(words)
    assert vocabulary.decode(vocabulary.encode(caption)) == caption


def test_decoding_ends_at_the_end_and_says_no_special_symbol() -> None:
    vocabulary = Vocabulary((*SPECIAL, "dog", "runs"))
    assert vocabulary.decode([START, 3, UNKNOWN, 4, END, 3]) == "dog runs"
    assert vocabulary.encode("The dog runs") == [UNKNOWN, 3, 4]


def test_the_vocabulary_is_by_frequency_and_then_by_letters() -> None:
    captions = ["b dog", "a dog (c)", "dog b a (c)"]
    for order in (captions, captions[::-1]):
        assert Vocabulary.of(order, least=2).words == (*SPECIAL, "dog", "a", "b", "c")


def test_brackets_are_for_the_scorers_and_never_said() -> None:
    vocabulary = Vocabulary.of(["a dog (brown)"], least=1)
    assert tokenize("(brown)") == ["-lrb-", "brown", "-rrb-"]
    assert "-lrb-" not in vocabulary.words
    assert vocabulary.decode(vocabulary.encode("a (brown) dog")) == "a brown dog"
