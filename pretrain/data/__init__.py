"""Ids of text to batches: the path of a token from a file to a gradient.

Two documents in a file, apart by a blank line, as `data.sources` may name it:

    The sun rose. It was warm.

    Birds sang.

1. `text/source.py`, `text/text_files.py`: files to documents. `pieces.py` cuts the corpus into
   pieces of `data.piece_megabytes`, each of which one job can make on its own.
2. `tokenise.py`: a document to sentences (`text/sentences.py`), sentences to ids by the tokenizer
   that `corpus.py` found in the cache or has trained. A hash of its text decides whether a
   document is trained on or held out.
3. `store.py`: the ids of a piece to three arrays. Here, with one id a word and point,

       tokens          12 40 77 5 14 9 61 5 83 70 5    uint16 (uint32 above 65,536 entries)
       sentence_ends          4          8       11    uint64: in tokens
       document_ends                     2        3    uint64: in sentences

   A manifest makes a store of all pieces. `cache.py` says where it lies:

       ~/.cache/masklab/                       data.cache
         tokenizers/49f84be6d4c68d0c/          vocab.json, merges.txt, tokenizer.manifest.json
         stores/40ad5a2063badc70/              named by the hash of sources, split and tokenizer
           manifest.json                       written last: sizes and sha256 of all below
           tokenizer/                          a copy: store and tokenizer stay together
           train/unigram_counts.npy            int64: how often each id occurs, all pieces together
           heldout/unigram_counts.npy
           00000/                              a piece; 00001/ and so on beside it
             piece.json                        its part of the manifest, and rows left out
             train/00000.tokens                read by `store_file.py`, as batches ask for them
             train/00000.sentence_ends         read by `layout.py`, for the portion that is cut
             train/00000.document_ends         the same
             train/00000.blocks                hashes of 1 MiB each, for `verification.py`
             train/unigram_counts.npy
             heldout/...                       the same for held-out documents

4. `formats.py` (and `pair_formats.py`): sentences to the samples of a format, as an index into
   the store (`sample_index.py`). Of FULL-SENTENCES of up to 16 tokens both documents make one
   sample of two spans:

       offsets 0 2     starts 0 8     ends 8 11        [CLS] 12 .. 5 [SEP] 83 70 5 [SEP]

5. `batches.py`: step s to the samples that it sees, in an order drawn anew each epoch, and these to
   micro-batches, of which each rank takes its share. `phases.py` has batch size and length change
   on the way. `prefetch.py` has a step's batches made while the step before is computed.
6. `collate.py`: the samples of a micro-batch to one flat row of ids, without padding.
7. `masking.py`: which ids are predicted, and what stands in their place:

       tokens_T     [CLS] 12 40 [MASK] 5 14 9 61 5 [SEP] 83 70 5 [SEP]
       predicted_M  3                                  labels_M  77

   Formats, order, masks and dropout draw from `pretrain/randomness.py`, by the sample's number and
   never from a state (law 1): a resumed run draws the same, on any number of ranks.
8. `model/encoder.py`: a `MicroBatch` (`pretrain/batch.py`) to hidden states; each sequence attends
   to itself alone.
9. `model/loss.py`: hidden states of the predicted tokens to a sum of cross entropies.
10. `engine/loop.py`: the sums of all micro-batches and ranks, divided by the predicted tokens of
    the step, to one update of the weights.

Beside the path: `manifest.py`, `blocks.py` and `verification.py` see to it that what is read is
what was written; `corpus_report.py` shows what a format makes of a corpus; `word2vec.py` may give
the word embeddings a start.
"""
