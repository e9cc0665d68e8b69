"""Every log event of the daemon and the proxy, declared once."""

from __future__ import annotations

EVENTS: dict[str, str] = {
    "started": "The daemon serves.",
    "draining": "A shutdown began.",
    "stopped": "The shutdown is complete.",
    "shutdown_forced": "The process ended itself 25 s after the time for calls: something hung.",
    "ranker_loaded": "A ranker was read, checked and warmed up.",
    "ranker_not_on_gpu": "A ranker was loaded for the CPU, though there is a GPU: so many of its matrix products (by "
    "operator, `operators`) have no CUDA kernel.",
    "ranker_placement_unknown": "A ranker is on the GPU, and where its nodes run cannot be read: onnxruntime's profile "
    "is missing, or of a kind that is not known.",
    "ranker_promoted": "A ranker took the place of another.",
    "promotion_not_followed": "The ranker that is set is served, and not the one promoted last (`previous`).",
    "promoted_ranker_unusable": "A ranker that was promoted cannot be loaded any more (`reason`): the one before it, "
    "or at last the bundled one, is served.",
    "history_unusable": "The registry's history cannot be read or written, or has lines that are no steps (`reason`).",
    "ranker_removed": "A ranker left the registry, as more than `promotion.keep` were there.",
    "registry_not_tidied": "The registry could not be looked through for rankers to remove.",
    "ranker_unloaded": "A ranker left memory.",
    "ranker_judged": "A candidate was compared with the ranker in service (`previous`): difference in tau, bounds.",
    "shadow_started": "A candidate scores in the shadow.",
    "shadow_stopped": "A candidate scores no more; so many prompts scored, so many completions of them reported.",
    "guard_changed": "A guard changed its mode.",
    "adaptation_switched": "What was learned of a model's traffic orders from now on (`to`: learned), or the ranker's "
    "own scores do (base).",
    "pilot_changed": "A pilot was planned, began or ended: its `state`, why, and the `blocks` that were measured.",
    "completion_log_failing": "The completion log cannot be written, or drops rows; `reason` says which. Told once.",
    "completion_log_recovered": "The completion log is written again.",
    "snapshot_restored": "Windows of an earlier process were restored: how many, with so many completions.",
    "snapshot_unusable": "The snapshot was left alone, `reason` says why; windows begin empty.",
    "snapshot_failing": "The snapshot cannot be written. Told once until it can.",
    "snapshot_window_left_out": "What is known of some model is not in the snapshot, as it holds numbers that cannot "
    "be; all others are. Told once until it can be written. It is a bug.",
    "telemetry_variable_unusable": "A variable of OpenTelemetry's (`setting`) cannot be used, and is done without: its "
    "default holds, or where it says how or where to send, nothing is sent. `reason` names the remedy. Told once.",
    "fleet_changed": "So many replicas are heard now, this one included (`replicas`).",
    "peer_refuses": "A peer is there and does not say what it knows (`reason`): the token of `fleet.token_file` is "
    "wrong or lacks the role quality, or it runs an older rankd. Told once, until it answers.",
    "peer_has_other_key": "A peer hashes words and names with another key than this replica (`setting`), so neither "
    "learns from the other's completions: give all replicas the same. Told once.",
    "peers_failing": "Peers could not be asked because of a bug, or of a file that is gone.",
    "scoring_failed": "Scores could not be had because of a bug or a failing model.",
    "internal_error": "A call, or a page beside gRPC, failed because of a bug; the trace has no values in it.",
    "secrets_reloaded": "What a file that is followed (`setting`) holds now is in force.",
    "secrets_unusable": "That file cannot be read, or is wrong (`reason`); what it held before stays in force.",
    "certificate_renewed": "New connections get the certificate that is in the files now.",
    "certificate_unusable": "The certificate files cannot be read, or are wrong; the certificate before is kept.",
    "proxy_started": "`rankd proxy` serves.",
    "upstream_found": "The proxy knows its engine, and which priority that serves first.",
    "upstream_misconfigured": "The engine does not do with priorities what it should; `reason` names the remedy.",
    "upstream_unknown": "The engine does not say which priority it serves first: none is written until it is named.",
    "upstream_unreachable": "The engine did not answer the proxy's start; it is asked again in the background.",
    "connection_cut": "A connection was ended for what came, or was not read, over it; `reason` says what.",
    "models_without_place": "The engine serves more models than the proxy tells apart: those beyond are not named.",
    "connections_limited": "The process may open too few files for the requests that the proxy would take at a time.",
    "answers_without_usage": "An answer does not say its length, and is not reported; `reason` names the remedy.",
}
