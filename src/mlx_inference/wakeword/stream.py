"""The buffers between chunks: samples, frames and embeddings, as openWakeWord keeps them."""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from mlx_inference.wakeword.graphs import (
    BANDS,
    CHUNK,
    FEATURES,
    FRAMES_PER_CHUNK,
    KEPT,
    WINDOW,
    Graphs,
)

#: Samples before a chunk that its spectrogram sees too: three frames of 10 ms.
LOOK_BACK = 480
#: Chunks that are taken at once; longer calls are taken in pieces.
MOST_CHUNKS = 100
#: The noise that stands for the sound before the stream: four seconds between these values.
NOISE_SAMPLES, NOISE_LOW, NOISE_HIGH = 64000, -1000, 1000
#: Embeddings of that noise.
NOISE_EMBEDDINGS = 41


class Stream:
    """What has been heard so far.

    Whole chunks of 1280 samples are taken as they fill; what a call leaves over waits. All whole
    chunks of a call share one spectrogram, whose floor is 80 dB below its loudest value: the same
    sound in longer calls has slightly different frames, here as in openWakeWord.
    """

    def __init__(self, graphs: Graphs, seed: int) -> None:
        self._graphs = graphs
        noise = np.random.RandomState(seed).randint(NOISE_LOW, NOISE_HIGH, NOISE_SAMPLES)
        frames = graphs.frames(mx.array(noise.astype(np.int16))[None])
        starts = range(0, len(frames) - WINDOW + 1, FRAMES_PER_CHUNK)
        embeddings = graphs.embed(frames, starts)
        silence = mx.zeros((KEPT - len(embeddings), FEATURES))
        self._first_embeddings = mx.concatenate([silence, embeddings])
        self._first_frames = mx.ones((WINDOW, BANDS))
        mx.eval(self._first_embeddings, self._first_frames)
        self.reset()

    def reset(self) -> None:
        """Forgets the sound; the noise before it is the same again."""
        self._before = np.zeros(0, np.int16)
        self._waiting = np.zeros(0, np.int16)
        self._frames = self._first_frames
        self._embeddings = self._first_embeddings
        self._embedded = NOISE_EMBEDDINGS

    def push(self, pcm: np.ndarray) -> tuple[int, np.ndarray | None]:
        """Takes int16 samples [N].

        Returns:
            How many samples were taken up and the scores float32 [chunks, classes] of the whole
            chunks; without one, how many samples wait, and ``None``.
        """
        pcm = np.concatenate([self._waiting, pcm])
        chunks, rest = divmod(len(pcm), CHUNK)
        self._waiting = pcm[len(pcm) - rest :]
        if not chunks:
            return rest, None
        scores = []
        for start in range(0, chunks, MOST_CHUNKS):
            end = min(start + MOST_CHUNKS, chunks)
            scores.append(self._advance(pcm[start * CHUNK : end * CHUNK]))
        return chunks * CHUNK, np.concatenate(scores)

    def _advance(self, pcm: np.ndarray) -> np.ndarray:
        """Runs the graphs once over whole chunks; the only wait for the device."""
        samples = np.concatenate([self._before, pcm])
        self._before = samples[-LOOK_BACK:]
        self._frames, self._embeddings, scores = self._graphs.step(
            mx.array(samples)[None], self._frames, self._embeddings
        )
        mx.eval(self._frames, self._embeddings, scores)
        self._embedded = min(KEPT, self._embedded + len(pcm) // CHUNK)
        return np.array(scores)

    @property
    def frames(self) -> np.ndarray:
        """The last 76 spectrogram frames, float32 [76, 32]; ones before the stream began."""
        return np.array(self._frames)

    @property
    def embeddings(self) -> np.ndarray:
        """The last embeddings, at most 120, float32 [n, 96]; those of noise come first."""
        return np.array(self._embeddings[KEPT - self._embedded :])
