"""Checkpoints of the original project: networks of torch's own modules under its names, read and run."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from hand_made_pairs import ANTIBODIES, ANTIGENS, asked, tokens_of
from torch import Tensor, nn

from tabstar_lit.commands.cli import main
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.antibody.original import import_checkpoint
from tabstar_lit.families.antibody.pairs.tokens import PAD
from tabstar_lit.families.antibody.restore import restore
from tabstar_lit.nn.positions import sinusoids


class Positions(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("pe", sinusoids(torch.arange(500), width)[None])


class TheirTransformer(nn.Module):
    """The names and the order of its transformer, as it writes: with the mask of the memory."""

    def __init__(self) -> None:
        super().__init__()
        self.src_embedding, self.tgt_embedding = nn.Embedding(25, 128), nn.Embedding(25, 128)
        self.src_pos_encoder, self.tgt_pos_encoder = Positions(128), Positions(128)
        self.transformer = nn.Transformer(128, 4, 2, 2, 512, activation="gelu", batch_first=True, norm_first=True)
        self.fc_out = nn.Linear(128, 25)
        self.affinity_projection = nn.Sequential(nn.Linear(1, 128), nn.GELU(), nn.Linear(128, 128))

    def forward(self, antigens: Tensor, tokens: Tensor, pkd: Tensor) -> Tensor:
        source, written = (
            table(ids) * math.sqrt(128) + positions.pe[:, : ids.shape[1]]
            for table, ids, positions in ((self.src_embedding, antigens, self.src_pos_encoder),
                                          (self.tgt_embedding, tokens, self.tgt_pos_encoder))
        )  # fmt: skip
        out = self.transformer(
            source + self.affinity_projection(pkd[:, None])[:, None], written,
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(tokens.shape[1]), tgt_is_causal=True,
            src_key_padding_mask=antigens == PAD, memory_key_padding_mask=antigens == PAD,
        )  # fmt: skip
        return self.fc_out(out)


class TheirLstm(nn.Module):
    """The names and the order of its LSTM, for one pair without padding."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Module(), nn.Module()
        self.encoder.embedding, self.decoder.embedding = nn.Embedding(25, 64), nn.Embedding(25, 64)
        self.encoder.lstm = nn.LSTM(64, 128, bidirectional=True, batch_first=True)
        self.encoder.hidden_projection, self.encoder.cell_projection = nn.Linear(256, 128), nn.Linear(256, 128)
        self.decoder.lstm = nn.LSTM(64 + 256, 128, batch_first=True)
        self.decoder.attention, self.decoder.attention_combine = nn.Linear(384, 128), nn.Linear(256, 256)
        self.decoder.out = nn.Linear(128, 25)
        self.affinity_projection = nn.Linear(1, 128)

    def forward(self, antigens: Tensor, tokens: Tensor, pkd: Tensor) -> Tensor:
        memory, (hidden, cell) = self.encoder.lstm(self.encoder.embedding(antigens))
        state = (
            self.encoder.hidden_projection(torch.cat([hidden[0], hidden[1]], 1))[None]
            + self.affinity_projection(pkd[:, None])[None],
            self.encoder.cell_projection(torch.cat([cell[0], cell[1]], 1))[None],
        )
        logits = []
        for place in range(tokens.shape[1]):
            query = state[0][-1][:, None].expand(-1, memory.shape[1], -1)
            scores = torch.tanh(self.decoder.attention(torch.cat([query, memory], 2))).sum(2).softmax(1)
            context = torch.bmm(scores[:, None], memory)
            given = torch.cat([self.decoder.embedding(tokens[:, place, None]), context], 2)
            out, state = self.decoder.lstm(given, state)
            logits.append(self.decoder.out(out[:, 0]))
        return torch.stack(logits, 1)


def saved(network: nn.Module, folder: Path) -> Path:
    path = folder / "theirs_epoch5.pt"
    content = {"epoch": 5, "model_state_dict": network.state_dict(), "val_loss": 2.5, "config": {"vocab_size": 25}}
    torch.save(content, path)
    return path


@pytest.mark.parametrize("kind", [TheirTransformer, TheirLstm])
def test_computes_what_the_original_computes(kind: type[nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(2)
    theirs = kind().eval()
    outcome = CliRunner().invoke(
        main, ["convert", "antibody-checkpoint", str(saved(theirs, tmp_path)), "-o", str(tmp_path / "ours.ckpt")]
    )
    assert outcome.exit_code == 0, outcome.output
    own = restore(tmp_path / "ours.ckpt")
    question, antibody = asked(), tokens_of(ANTIBODIES[1:2])
    antigen = question.antigens[:1, : len(ANTIGENS[0]) + 2]
    with torch.no_grad():
        expected = theirs(antigen, antibody, torch.tensor([9.0]))
        found = own.network(question._replace(antigens=antigen, pkd=torch.tensor([9.0])), antibody)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_what_it_made_writes_antibodies(tmp_path: Path) -> None:
    import_checkpoint(saved(TheirTransformer(), tmp_path), tmp_path / "ours.ckpt")
    written = restore(tmp_path / "ours.ckpt").generate(ANTIGENS[:1], count=2, pkd=8.0, device="cpu")
    assert len(written) == 2
    assert written["identity"].isna().all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weights": torch.zeros(1)}, "no 'model_state_dict'; it holds weights"),
        ({"model_state_dict": {"linear.weight": torch.zeros(1)}}, "neither its transformer nor its LSTM"),
        ({"model_state_dict": {"src_embedding.weight": torch.zeros(25, 100)}}, "width 100"),
    ],
)
def test_what_is_none_of_its_checkpoints_is_refused(content: dict[str, object], message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=message):
        import_checkpoint(tmp_path / "other.pt", tmp_path / "ours.ckpt")
