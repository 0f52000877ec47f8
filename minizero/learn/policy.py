"""The policy: a model with what is trained of it, its log-probabilities, its update, its files.

Reading order: Policy (what is trained), update (a step's learning), _forward (log-probabilities of completion tokens),
save_adapter, save_state and load_state.
"""
# N rollouts · B rows · T tokens · K completion tokens of a micro-batch · H hidden width

from __future__ import annotations

import copy
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minizero.config.adapters import names
from minizero.config.schema import Config
from minizero.learn.advantages import estimate
from minizero.learn.batching import Batch, aligned, collate_rows, plan_micro_batches, row_tokens, share_prompts
from minizero.learn.checkpoint import load_checkpoint
from minizero.learn.kl_base import to_measure
from minizero.learn.log_probs import by_mask, chunked_log_probs, head_log_probs
from minizero.learn.losses import aggregation_weights, importance_weights, kl_penalty, token_loss
from minizero.learn.measured import metrics_of
from minizero.learn.members import Members
from minizero.learn.optimiser import MasterAdamW
from minizero.learn.optimisers import Optimisers
from minizero.learn.ranks import ALONE, Ranks, threads
from minizero.learn.recompute import can_recompute, recomputing
from minizero.models import load as models
from minizero.models.adapter import adapter_parameters, add_adapter, freeze_other_parts
from minizero.models.architecture import describe, text_sizes
from minizero.models.attention import additive
from minizero.planner import bound_memory, resolve_for_machine
from minizero.planner.driver import check_driver
from minizero.types import ConfigError, ModelError, Role, Rollout


class Policy:
    """One model that plays both roles, by one adapter or by several (`members`). `model` is the transformers model that
    is also sampled from. Of several ranks each has a policy of its own, which learns from its part of the rollouts and
    makes the same updates."""

    ranks: Ranks = ALONE

    def __init__(self, config: Config, *, tick: Callable[[], None] = lambda: None, ranks: Ranks = ALONE) -> None:
        self._tick, self.ranks = tick, ranks
        check_driver(config)
        torch.set_num_threads(config.run.threads or threads())
        # On a CPU torch and oneDNN keep what they prepared for the last 1,024 shapes, and every packed micro-batch has
        # its own: memory grew with every step. One micro-batch has fewer shapes than this. Read at their first use.
        for cache in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
            os.environ.setdefault(cache, "64")
        torch.manual_seed(config.run.rng_seed)  # the initial adapter is the only thing drawn from torch's generator
        loaded = models.load(config.model, config.prompt.style, config.prompt.think)
        self.style, self.style_reason = loaded.style.name, loaded.style.reason
        self._hold(loaded.model, loaded.tokenizer, config)

    @classmethod
    def of(cls, model: Any, tokenizer: Any, config: Config) -> Policy:
        """The policy of a model that is there already, such as one of fake tensors; it has no prompt style."""
        made = cls.__new__(cls)
        made._tick = lambda: None
        made._hold(model, tokenizer, config)
        return made

    def _hold(self, model: Any, tokenizer: Any, config: Config) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.device = next(self.model.parameters()).device.type
        config = _without_recomputation_that_fails(config, self.model)
        # From here on no setting is "auto" or 0 for "as the plan says".
        self.config = config = resolve_for_machine(config, text_sizes(self.model).to_dict())
        if self.device == "cuda":
            bound_memory(config)
        self.has_adapter = config.adapter.kind == "lora"
        needs_reference = config.loss.kl_weight > 0 and not self.has_adapter
        self._reference = copy.deepcopy(self.model).requires_grad_(False) if needs_reference else None
        freeze_other_parts(self.model)
        self._peft: Any = add_adapter(self.model, config.adapter) if self.has_adapter else None
        self.members = Members(self._peft, names(config.adapter))
        if config.model.checkpoint:
            load_checkpoint(self.model, self._peft, Path(config.model.checkpoint), self.members.names)
        if config.optim.gradient_checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
            self.model.enable_input_require_grads()
        describe(self.model)  # refuses what is no causal language model
        trained = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        several = {name: adapter_parameters(self.model, name) for name in self.members.names if name}
        self.optimisers = Optimisers(several or {"": trained}, config.optim)
        # Means of rewards that advantage.*.baseline = running keeps, by member and group: part of a run's state.
        self.running: dict[str, dict[str, float]] = {name: {} for name in self.members.names}

    @property
    def optimiser(self) -> MasterAdamW:
        """Of a policy with one member."""
        (only,) = self.optimisers.values()
        return only

    @property
    def updates(self) -> int:
        """Updates that the weights have seen, those of the runs before a resume too; of several members the most."""
        return self.optimisers.updates

    # -- learning -----------------------------------------------------------------------------------------------------

    def update(self, rollouts: Sequence[Rollout]) -> dict[str, float]:
        """Advantages, then optim.updates_per_step optimiser steps over equal shares of the rollouts, those of all
        ranks."""
        if not rollouts:
            return {}
        advantages = self._advantages(rollouts)
        metrics = {"advantage/zero_frac": float((advantages == 0).float().mean())}
        if len(advantages) > 1:
            metrics["advantage/std"] = float(advantages.std())
        versions = [(r.completion.version, r.completion.member) for r in rollouts if r.completion.version is not None]
        if versions:
            seen = sum(self.optimisers[member].updates for _, member in versions) / len(versions)
            metrics["policy/staleness"] = seen - sum(version for version, _ in versions) / len(versions)
        metrics |= self.kl_base(rollouts)
        shares = self.config.optim.updates_per_step
        # In (role, task type, member) order, every n-th rollout: each share holds all groups in equal parts.
        keys = [(r.role, r.task_type, r.completion.member) for r in rollouts]
        order = sorted(range(len(rollouts)), key=lambda i: (*keys[i], i))
        old = self._all_log_probs(rollouts) if shares > 1 and self.config.loss.old_policy == "trainer" else None
        skipped = 0.0
        for share in range(shares):
            places = order[share::shares]
            if places:
                mine = [old[i] for i in places] if old else None
                metrics |= self._learn([rollouts[i] for i in places], advantages[places], mine)
                skipped += metrics["policy/skipped_updates"]
        metrics["policy/skipped_updates"] = skipped
        return metrics

    def _advantages(self, rollouts: Sequence[Rollout]) -> Tensor:
        """Advantages [N], estimated for each adapter from its own rollouts. A baseline is what this policy earns on
        average: against the mean of a better one everything that a weaker one writes would count as bad."""
        advantages = torch.zeros(len(rollouts))
        for member, own in self.members.by_member(rollouts, range(len(rollouts))):
            advantages[own] = estimate([rollouts[i] for i in own], self.config.advantage, self.running[member])
        return advantages

    def _learn(
        self, rollouts: Sequence[Rollout], advantages: Tensor, old_log_probs: Sequence[Tensor] | None
    ) -> dict[str, float]:
        """One optimiser step, of each member. The weights of all tokens are fixed before the first micro-batch, so the
        split changes nothing."""
        loss = self.config.loss
        masked = torch.tensor([loss.mask_cut and r.completion.finish == "length" for r in rollouts])
        lengths = torch.tensor([len(r.completion.ids) for r in rollouts]).masked_fill(masked, 0)  # no tokens: no weight
        groups = _group_ids(rollouts)
        weights = aggregation_weights(lengths, groups, loss.aggregation, loss.constant_tokens)
        weights[[r.role is Role.PROPOSE for r in rollouts]] *= loss.propose_weight
        teaches = advantages * weights != 0
        if loss.kl_weight or loss.entropy_weight:
            teaches = ~masked
        # What has advantage 0 adds nothing to the gradient, so it is not computed.
        chosen = teaches.nonzero()[:, 0].tolist()
        values_by_name: dict[str, list[Tensor]] = defaultdict(list)
        total = 0.0
        for batch in self._micro_batches(rollouts, chosen, dealt=True):
            new, entropy = self._forward(batch)
            places = batch.index.tolist()
            row, index = batch.row, batch.index.cpu()
            sampler = batch.sampled
            trainer = new.detach() if old_log_probs is None else torch.cat([old_log_probs[i] for i in places]).to(new)
            old = sampler if loss.old_policy == "sampler" else trainer
            per_token, metrics = token_loss(new, old, advantages[index].to(self.device)[row], row, loss)
            correction, clipped = importance_weights(trainer, sampler, row, loss.correction, loss.correction_max)
            per_token = correction * per_token - loss.entropy_weight * entropy
            if loss.kl_weight:
                reference = self._reference_log_probs(batch)
                per_token = per_token + loss.kl_weight * kl_penalty(new, reference, loss.kl_estimator)
                metrics["kl_ref"] = kl_penalty(new.detach(), reference, "k3")
            batch_loss = (weights[index].to(self.device)[row] * per_token).sum()
            batch_loss.backward()
            self.optimisers.accumulate()
            total += float(batch_loss.detach())
            kept = {"trainer": trainer, "sampler": sampler, "correction": correction, "clipped": clipped}
            if len(self.members.names) > 1:
                kept["member"] = torch.full_like(trainer, self.members.names.index(self.members.on))
            for name, values in (metrics | kept | {"entropy": entropy.detach()}).items():
                values_by_name[name].append(values.cpu())
            self._tick()
        stepped = self.optimisers.step(self.ranks)
        of_step = {f"policy/{name}": stepped[key] for name, key in _STEP_NAMES.items()}
        of_step |= {f"policy/{key}": value for key, value in stepped.items() if "/" in key}
        own_values = {name: torch.cat(parts) for name, parts in values_by_name.items()}
        parts_by_rank, totals = zip(*self.ranks.gather((own_values, total)), strict=True)
        per_token_values = {
            name: torch.cat([parts[name] for parts in parts_by_rank if name in parts])
            for name in dict.fromkeys(name for parts in parts_by_rank for name in parts)
        }
        if loss.mask_cut:
            of_step["policy/masked_frac"] = float(masked.float().mean())
        return of_step | {"policy/loss": sum(totals)} | metrics_of(per_token_values, self.members.names)

    def renew(self, weaker: str, better: str, seed: int) -> None:
        """`weaker` becomes a mutated copy of `better` (adapter.mutation), the same one on all ranks."""
        generator = torch.Generator().manual_seed(seed)
        self.optimisers.renew(weaker, better, self.config.adapter.mutation, generator)

    # -- log-probabilities --------------------------------------------------------------------------------------------

    def _forward(self, batch: Batch, model: Any = None) -> tuple[Tensor, Tensor]:
        """(log_probs[K], entropy[K]) of the completion tokens, at the sampling temperature.

        Rows are padded on the right and attention is causal, so no token sees padding; a mask is needed only where
        several completions share a row.
        """
        architecture = describe(model or self.model)
        recomputes = self.config.optim.gradient_checkpointing is True and torch.is_grad_enabled()
        mask = batch.mask
        if mask is not None and self.device != "cpu" and architecture.is_plain:
            # Once for all layers: of truth values each layer would make these numbers for itself, and keep them.
            mask = additive(mask, self.model.dtype)
        with recomputing(architecture.model) if recomputes else nullcontext():
            hidden = architecture.hidden(batch.input_ids, mask, batch.positions)  # [B, T, H]
        chosen = hidden.flatten(0, 1)[batch.select]  # [K, H]
        head, temperature, chunk = architecture.head, self.config.sampler.temperature, self.config.optim.logits_chunk
        bonus = self.config.loss.entropy_weight > 0

        def log_probs(of: Tensor, targets: Tensor, masked: Tensor | None) -> tuple[Tensor, Tensor]:
            if head.is_matrix:
                return chunked_log_probs(of, head.weight, targets, temperature, chunk, masked, entropy_gradient=bonus)
            return head_log_probs(
                of, head, head.parameters, targets, temperature, chunk, masked, entropy_gradient=bonus
            )

        return by_mask(log_probs, chosen, batch)

    @torch.no_grad()
    def log_probs(self, rollouts: Sequence[Rollout]) -> list[Tensor]:
        """Log-probabilities of each rollout's completion tokens under the current weights, in nats."""
        per_rollout: list[Tensor] = [torch.empty(0)] * len(rollouts)
        for batch in self._micro_batches(rollouts, range(len(rollouts))):
            parts = self._forward(batch)[0].cpu().split(batch.lengths)
            for place, part in zip(batch.index.tolist(), parts, strict=True):
                per_rollout[place] = part
            self._tick()
        return per_rollout

    def _all_log_probs(self, rollouts: Sequence[Rollout]) -> list[Tensor]:
        """The same, each rank computing its part."""
        count = self.ranks.count
        parts = self.ranks.gather(self.log_probs(rollouts[self.ranks.number :: count]))
        return [parts[place % count][place // count] for place in range(len(rollouts))]

    @torch.no_grad()
    def _reference_log_probs(self, batch: Batch) -> Tensor:
        with self.adapter_off() if self.has_adapter else nullcontext():
            return self._forward(batch, self._reference)[0]

    @torch.no_grad()
    def kl_base(self, rollouts: Sequence[Rollout]) -> dict[str, float]:
        """policy/kl_base: KL(policy, base) per token in nats (k3), on tokens of these rollouts, which the weights as
        they are now have sampled. {} where eval.kl_base_tokens is 0, or auto with no base at hand."""
        if not self.has_adapter and self._reference is None:
            return {}
        total, tokens = 0.0, 0
        measured = to_measure(rollouts, self.config.eval.kl_base_tokens)
        for batch in self._micro_batches(rollouts, measured, dealt=True):
            apart = kl_penalty(self._forward(batch)[0], self._reference_log_probs(batch), "k3")
            total, tokens = total + float(apart.double().sum()), tokens + len(apart)
            self._tick()
        sums = self.ranks.gather((total, tokens))
        total, tokens = sum(total for total, _ in sums), sum(tokens for _, tokens in sums)
        return {"policy/kl_base": total / tokens} if tokens else {}

    def micro_batches(self, rollouts: Sequence[Rollout]) -> Iterator[Batch]:
        """The micro-batches of these rollouts, the longest first."""
        yield from self._micro_batches(rollouts, range(len(rollouts)))

    def backward(self, batch: Batch) -> None:
        """A forward and a backward pass over a micro-batch, and its gradients into the optimiser's sums: what learning
        from it takes in memory and time. `optimisers.forget()` undoes it."""
        new, entropy = self._forward(batch)
        (new.mean() - self.config.loss.entropy_weight * entropy.mean()).backward()
        self.optimisers.accumulate()
        self._tick()

    def _micro_batches(
        self, rollouts: Sequence[Rollout], places: Sequence[int], *, dealt: bool = False
    ) -> Iterator[Batch]:
        """Of the rollouts at these places; `dealt`: of this rank's part of them. A micro-batch is of one member, which
        is on when it is given."""
        budget = self.config.optim.micro_batch_tokens
        shares = describe(self.model).shares_rows
        for member, own in self.members.by_member(rollouts, places):
            rows = share_prompts(rollouts, own, budget) if shares else [[i] for i in own]
            if dealt:
                rows = self.ranks.deal(rows, [row_tokens(rollouts, row) for row in rows])
            for part in plan_micro_batches([row_tokens(rollouts, row) for row in rows], budget):
                batch = collate_rows(rollouts, [rows[k] for k in part], self.tokenizer.pad_id)
                self.members.use(member)
                yield (batch if self.device == "cpu" else aligned(batch)).to(self.device)

    def adapter_off(self) -> AbstractContextManager[None]:
        """The reference policy: the base model without an adapter."""
        return self.members.off()

    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the weights that a run is judged by: with optim.ema_decay their running mean, else the weights as
        they are. A sampler that holds a copy of the weights must load it inside, and again afterwards.

        Of an adapter the factors A and B are averaged separately. Their product is close to the mean of the products,
        because the weights change little over the updates that are averaged."""
        return self.optimisers.averaged()

    # -- files --------------------------------------------------------------------------------------------------------

    def save_adapter(self, directory: Path, judged: str = "") -> None:
        """directory/adapter: a plain PEFT adapter, or (full parameters) directory/model in Hugging Face format. Of
        several members `judged` is the one in directory/adapter (without a name the last solver); see Members.save."""
        if self._peft is not None:
            self.members.save(directory, judged)
            return
        self.model.save_pretrained(directory / "model")
        self.tokenizer.backend.save_pretrained(directory / "model")

    def save_state(self, directory: Path) -> None:
        """What an exact continuation needs: master weights, Adam's moments, the counts of updates."""
        self.optimisers.save(directory / STATE)

    def load_state(self, directory: Path) -> None:
        """Back to a saved state. Raises CheckpointError when it belongs to another model or adapter."""
        self.optimisers.read(directory / STATE, self.device)

    def share_state(self) -> None:
        """All ranks go on with the state that rank 0 has loaded."""
        self.optimisers.share(self.ranks)

    def check_ranks(self) -> None:
        """Raise ModelError unless all ranks hold the same weights, bit for bit."""
        if self.ranks.count == 1:
            return
        sums = self.ranks.gather(self.optimisers.checksum())
        if any(of_rank != sums[0] for of_rank in sums):
            odd = [number for number, of_rank in enumerate(sums) if of_rank != sums[0]]
            raise ModelError(
                f"the trained weights of rank {odd[0]} are not those of rank 0, so this is no longer one policy. "
                "Continue from the last saved state with --resume; if it happens again, a machine or a card is faulty."
            )


STATE = "policy.safetensors"
_STEP_NAMES = {"grad_norm": "grad_norm", "lr": "lr", "skipped_updates": "skipped"}


def _without_recomputation_that_fails(config: Config, model: Any) -> Config:
    """Gradient checkpointing off for a model whose code has none. Raises ConfigError where the user asked for it."""
    if can_recompute(model):
        return config
    if config.optim.gradient_checkpointing is True:
        raise ConfigError(
            f"optim.gradient_checkpointing = true: {type(model).__name__} cannot recompute its layers. Try --set "
            "optim.gradient_checkpointing=auto"
        )
    return config.model_copy(update={"optim": config.optim.model_copy(update={"gradient_checkpointing": False})})


def _group_ids(rollouts: Sequence[Rollout]) -> Tensor:
    keys = sorted({(r.role, r.task_type) for r in rollouts})
    return torch.tensor([keys.index((r.role, r.task_type)) for r in rollouts])
