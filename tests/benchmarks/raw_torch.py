"""Raw torch loops of the workshop's models, written for speed; see tuning.py beside this file."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import nn

from tests.benchmarks.raw_common import batches, clock


class Model(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.embedding = nn.Embedding(1000, 50)
        if name in ("lstm", "bilstm"):
            self.recurrent: nn.Module = nn.LSTM(50, 100, batch_first=True, bidirectional=name == "bilstm")
            self.head: nn.Module = nn.Linear(200 if name == "bilstm" else 100, 1)
        elif name == "gru":
            self.recurrent, self.head = nn.GRU(50, 100, batch_first=True), nn.Linear(100, 1)
        elif name == "cnn-lstm":
            self.conv = nn.Conv1d(50, 64, 5)
            self.recurrent, self.head = nn.LSTM(64, 70, batch_first=True), nn.Linear(70, 1)
        else:
            self.conv = nn.Conv1d(50, 50, 3)
            hidden = nn.Sequential(nn.Linear(998 * 50, 100), nn.ReLU(), nn.Dropout(0.5))
            self.head = nn.Sequential(hidden, nn.Linear(100, 1))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens)
        if self.name == "cnn":
            return self.head(torch.relu(self.conv(x.transpose(1, 2))).flatten(1))
        if self.name == "cnn-lstm":
            x = nn.functional.max_pool1d(torch.relu(self.conv(x.transpose(1, 2))), 4).transpose(1, 2)
        if self.name == "gru":
            return self.head(self.recurrent(x)[1][-1])
        hidden = self.recurrent(x)[1][0]
        return self.head(torch.cat([hidden[0], hidden[1]], 1) if self.name == "bilstm" else hidden[-1])


def main(name: str, seconds: float) -> float:
    torch.manual_seed(0)
    model = Model(name)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    tokens, labels = (torch.as_tensor(part) for part in batches(name))
    loss_of = nn.BCEWithLogitsLoss()

    def step(place: int) -> Any:
        adam.zero_grad(set_to_none=True)
        loss = loss_of(model(tokens[place : place + 32]).squeeze(1), labels[place : place + 32])
        loss.backward()
        adam.step()
        return loss

    return clock(step, len(tokens), seconds)


if __name__ == "__main__":
    print(main(sys.argv[1], float(sys.argv[2])))
