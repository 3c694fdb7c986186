"""The four input formats once more, in plain loops over lists, as the papers describe them.

Written from BERT's released create_pretraining_data.py and RoBERTa, section 4.2, to check the
vectorised `pretrain.data.formats`. Both read the same random words; nothing else is shared.
Known differences from BERT's script: the random segment always comes from another document, and
the coins of the truncation are those of a counter-based generator.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain

from configs.schema import PretrainConfig
from pretrain.randomness import Purpose, draw, permutation
from tests.helpers import Documents

Sample = tuple[list[list[int]], int]
"""spans of tokens, and the next-sentence label (0 next, 1 random, -100 none)"""


def slow_samples(
    documents: Documents, config: PretrainConfig, cut: int, portions: tuple[range, ...] = ()
) -> list[Sample]:
    """All samples of one pass over the documents, which are cut portion by portion."""
    samples = []
    for portion in portions or (range(len(documents)),):
        own, before = documents[portion.start : portion.stop], documents[: portion.start]
        if config.input_format in ("full-sentences", "doc-sentences"):
            samples += packed(own, config, cut, len(before))
        else:
            samples += pairs(own, config, cut, len(before), sum(map(len, before)))
    return samples


def packed(documents: Documents, config: PretrainConfig, cut: int, first: int) -> list[Sample]:
    """FULL-SENTENCES and DOC-SENTENCES: fill each sample until the next unit would not fit."""
    samples: list[list[list[int]]] = []
    spans: list[list[int]] = []
    order = permutation(config.seed, Purpose.DOCUMENT_ORDER, cut, len(documents), first)
    for number in order:
        opens_span = True
        for unit in pieces(documents[number], config.max_length - 2):
            length = 1 + sum(len(span) + 1 for span in spans)
            if spans and length + len(unit) + opens_span > config.max_length:
                samples.append(spans)
                spans = []
            if opens_span or not spans:
                spans.append([])
            spans[-1].extend(unit)
            opens_span = False
        if config.input_format == "doc-sentences":
            samples.append(spans)
            spans = []
    if spans:
        samples.append(spans)
    return [(spans, -100) for spans in samples]


def pieces(document: list[list[int]], limit: int) -> list[list[int]]:
    """The sentences of a document, longer ones cut after every `limit` tokens."""
    return [
        sentence[at : at + limit] for sentence in document for at in range(0, len(sentence), limit)
    ]


def pairs(
    documents: Documents, config: PretrainConfig, cut: int, first: int, first_sentence: int
) -> list[Sample]:
    """SEGMENT-PAIR and SENTENCE-PAIR: `create_instances_from_document` for every document."""
    samples: list[Sample] = []
    for number in range(len(documents)):
        natural = config.input_format == "sentence-pair"
        target = 0 if natural else target_length(first + number, config, cut)
        samples += pairs_of_document(documents, number, first_sentence, target, config, cut)
        first_sentence += len(documents[number])
    return samples


def pairs_of_document(
    documents: Documents,
    number: int,
    first_sentence: int,
    target: int,
    config: PretrainConfig,
    cut: int,
) -> list[Sample]:
    """The pairs of one document, whose first sentence has the given number in the corpus."""
    natural = config.input_format == "sentence-pair"
    document, samples, chunk, i = documents[number], [], [], 0
    while i < len(document):
        chunk.append(document[i])
        complete = len(chunk) == 2 if natural else sum(map(len, chunk)) >= target
        if complete or i == len(document) - 1:
            key = first_sentence + i - len(chunk) + 1
            words = draw(config.seed, Purpose.PAIRS, cut, key)[:, 0].tolist()
            a_end = 1 if len(chunk) == 1 else 1 + below(words[0], len(chunk) - 1)
            tokens_a = list(chain(*chunk[:a_end]))
            is_random = len(chunk) == 1 or words[1] < 2**31
            if is_random:
                tokens_b = random_segment(documents, number, target - len(tokens_a), words)
                i -= len(chunk) - a_end
            else:
                tokens_b = list(chain(*chunk[a_end:]))
            truncate(tokens_a, tokens_b, config, cut, key)
            samples.append(([tokens_a, tokens_b], int(is_random)))
            chunk = []
        i += 1
    return samples


def target_length(number: int, config: PretrainConfig, cut: int) -> int:
    """Tokens a chunk of the document aims at."""
    room = config.max_length - 3
    words = draw(config.seed, Purpose.PAIRS, cut, number, block=1)[:, 0].tolist()
    if words[0] / 2**32 < config.short_sequence_probability:
        return 2 + below(words[1], room - 1)
    return room


def random_segment(documents: Documents, number: int, target: int, words: list[int]) -> list[int]:
    """Sentences of another document from a random one on, until `target` tokens are reached."""
    others = [document for other, document in enumerate(documents) if other != number]
    document = others[below(words[2], len(others))]
    tokens: list[int] = []
    for sentence in document[below(words[3], len(document)) :]:
        tokens += sentence
        if len(tokens) >= target:
            break
    return tokens


def truncate(
    tokens_a: list[int], tokens_b: list[int], config: PretrainConfig, cut: int, key: int
) -> None:
    """`truncate_seq_pair`: one token at a time from the longer one, at its front or its back."""
    lost = [0, 0]
    while len(tokens_a) + len(tokens_b) > config.max_length - 3:
        longer = 0 if len(tokens_a) > len(tokens_b) else 1
        tokens = (tokens_a, tokens_b)[longer]
        if coin(config.seed, cut, key, longer, lost[longer]):
            del tokens[0]
        else:
            tokens.pop()
        lost[longer] += 1


def coin(seed: int, cut: int, key: int, segment: int, toss: int) -> bool:
    """One bit of the coins of segment 0 or 1 of a sample."""
    block, bit = divmod(toss, 128)
    coins = block_of_coins(seed, cut, key, 2 + segment + 2 * block)
    return bool(coins[bit // 8] >> (7 - bit % 8) & 1)


@lru_cache
def block_of_coins(seed: int, cut: int, key: int, block: int) -> bytes:
    """128 coins: the bytes of four words."""
    words = draw(seed, Purpose.PAIRS, cut, key, block)[:, 0]
    return b"".join(int(word).to_bytes(4, "little") for word in words)


def below(word: int, bound: int) -> int:
    """A 32-bit word scaled to [0, bound)."""
    return word * bound >> 32
