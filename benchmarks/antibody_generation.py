"""How long a trained generator takes to write: with its memory of the tokens before, and without."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from tabstar_lit.families.antibody.architecture import Seq2SeqArchitecture
from tabstar_lit.families.antibody.networks.build import build_network
from tabstar_lit.families.antibody.networks.source import Asked, Source, Writer
from tabstar_lit.families.antibody.pairs.scale import PkdScale
from tabstar_lit.families.antibody.pairs.tokens import END, FIRST_LETTER, PAD, START, VOCABULARY_SIZE
from tabstar_lit.nn.decoders import Decoder, Recomputed
from tabstar_lit.nn.generation import Generated, Prompts, Stop, generate

ANTIBODIES, TOKENS = 16, 300
"""What is written: none of them ends before."""
LENGTHS = (100, 512)
"""Of the antigens, evenly spread."""


def figures() -> dict[str, float]:
    """Return the figures by name: processor seconds of one thread, and how many times longer without a memory."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        network, asked = _network(), _asked()
        cached, seconds = _timed(network, asked)
        again, uncached = _timed(Recomputed(_Anew(network)), _encoded(network, asked))
    finally:
        torch.set_num_threads(threads)
    if not torch.equal(cached.tokens, again.tokens):
        raise AssertionError("with and without a memory, other antibodies are written")
    return {"antibody.generate_seconds": seconds, "antibody.generate_speedup": uncached / seconds}


class _Anew(torch.nn.Module):
    """The decoder run on all tokens at each step; what it reads was encoded once."""

    def __init__(self, network: Writer) -> None:
        super().__init__()
        self.network = network

    def forward(self, memory: Tensor, there: Tensor, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Return the logits of all tokens."""
        return self.network.decode(Source(memory, there), tokens)


def _network() -> Writer:
    torch.manual_seed(0)
    return build_network(Seq2SeqArchitecture(size="small"), PkdScale()).eval()


def _asked() -> Asked:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.linspace(*LENGTHS, ANTIBODIES).long()
    antigens = torch.randint(FIRST_LETTER, VOCABULARY_SIZE, (ANTIBODIES, LENGTHS[1]), generator=generator)
    places = torch.arange(LENGTHS[1])
    antigens = torch.where(places < lengths[:, None] - 1, antigens, PAD)
    antigens[:, 0] = START
    antigens[torch.arange(ANTIBODIES), lengths - 1] = END
    return Asked(antigens, torch.linspace(5, 10, ANTIBODIES))


def _encoded(network: Writer, asked: Asked) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        source: Source = network.encode(asked)
    return source.memory, source.mask


def _timed(decoder: Decoder, context: object) -> tuple[Generated, float]:
    prompts = Prompts(torch.full((ANTIBODIES, 1), START))
    start = time.process_time()  # other programs of the machine do not count
    written = generate(decoder, prompts, Stop(TOKENS - 1), context=context)
    return written, time.process_time() - start


if __name__ == "__main__":
    for name, value in figures().items():
        print(f"BENCH {name}={value:.4g}", flush=True)
