{{/* What the schema cannot say: values that contradict each other. Each guard names the remedy. */}}
{{- define "rankd.guards" -}}
{{- include "rankd.guardGpu" . -}}
{{- include "rankd.guardVolumes" . -}}
{{- include "rankd.guardScaling" . -}}
{{- include "rankd.guardTls" . -}}
{{- include "rankd.guardAuth" . -}}
{{- include "rankd.guardDrain" . -}}
{{- include "rankd.guardTraining" . -}}
{{- include "rankd.guardSidecar" . -}}
{{- include "rankd.guardProxy" . -}}
{{- include "rankd.guardRoutes" . -}}
{{- include "rankd.guardBudgets" . -}}
{{- end -}}

{{- define "rankd.guardGpu" -}}
{{- if and .Values.gpu.enabled .Values.provider (ne .Values.provider "cuda") -}}
{{- fail (printf "gpu.enabled asks for a GPU, and provider %s may leave it idle: leave provider empty, or set gpu.enabled to false" .Values.provider) -}}
{{- end -}}
{{- if and (not .Values.gpu.enabled) (eq .Values.provider "cuda") -}}
{{- fail "provider cuda needs a GPU: set gpu.enabled to true, or leave provider empty" -}}
{{- end -}}
{{- end -}}

{{- define "rankd.guardVolumes" -}}
{{- $several := gt (int (include "rankd.mostReplicas" .)) 1 -}}
{{- if and $several (eq .Values.mode "service") -}}
{{- range $name, $volume := dict "registry" .Values.registry "completionLog" .Values.completionLog -}}
{{- if and $volume.enabled (not (get $volume "url")) (not (has "ReadWriteMany" $volume.accessModes)) -}}
{{- fail (printf "%s.accessModes %v lets one node mount the volume, and more than one replica may run: use ReadWriteMany (with a storageClass that has it), %sor set replicas to 1 without autoscaling" $name $volume.accessModes (ternary "or completionLog.url with an object store, " "" (eq $name "completionLog"))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.completionLog.url .Values.completionLog.existingClaim -}}
{{- fail "completionLog.url and completionLog.existingClaim are two places: leave one empty" -}}
{{- end -}}
{{- if and .Values.snapshot.enabled (ne .Values.workload "StatefulSet") (eq .Values.mode "service") -}}
{{- fail "snapshot.enabled needs replicas that find their own volume again: set workload to StatefulSet" -}}
{{- end -}}
{{- end -}}

{{- define "rankd.guardScaling" -}}
{{- if .Values.autoscaling.enabled -}}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) -}}
{{- fail (printf "autoscaling.minReplicas %d is above autoscaling.maxReplicas %d: swap or raise them" (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- end -}}
{{- if not (or .Values.autoscaling.cpu.target .Values.autoscaling.queue.enabled) -}}
{{- fail "autoscaling has nothing to go by: set autoscaling.cpu.target or autoscaling.queue.enabled" -}}
{{- end -}}
{{- if and .Values.autoscaling.cpu.target (not (dig "requests" "cpu" "" .Values.resources)) -}}
{{- fail "autoscaling.cpu.target is a share of the requested CPU: set resources.requests.cpu, or autoscaling.cpu.target to 0" -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.workload "Deployment") (eq (int .Values.rollout.maxSurge) 0) (eq (int .Values.rollout.maxUnavailable) 0) -}}
{{- fail "rollout.maxSurge and rollout.maxUnavailable are both 0, and no rollout could go on: raise one" -}}
{{- end -}}
{{- end -}}

{{- define "rankd.guardTls" -}}
{{- $tls := .Values.tls -}}
{{- if and (not $tls.enabled) (or $tls.certManager.enabled $tls.mutual.enabled $tls.existingSecret) -}}
{{- fail "tls.existingSecret, tls.certManager and tls.mutual need tls.enabled: set it to true" -}}
{{- end -}}
{{- if $tls.enabled -}}
{{- if and $tls.certManager.enabled (not $tls.certManager.issuer.name) -}}
{{- fail "tls.certManager.enabled needs an issuer: set tls.certManager.issuer.name (and kind, if it is a ClusterIssuer)" -}}
{{- end -}}
{{- if not (or $tls.certManager.enabled $tls.existingSecret) -}}
{{- fail "tls.enabled needs a certificate: set tls.existingSecret, or tls.certManager.enabled with an issuer" -}}
{{- end -}}
{{- if eq .Values.probes.kind "grpc" -}}
{{- fail "probes.kind grpc does not work over TLS, which the kubelet does not speak to gRPC: set probes.kind to http" -}}
{{- end -}}
{{- if and $tls.mutual.enabled (not $tls.client.existingSecret) (eq .Values.mode "service") (or .Values.test.enabled .Values.retraining.enabled) -}}
{{- fail "tls.mutual.enabled: helm test and retraining need a certificate too: set tls.client.existingSecret, or test.enabled and retraining.enabled to false" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "rankd.guardAuth" -}}
{{- $open := not (include "rankd.authenticates" .) -}}
{{- if eq .Values.mode "service" -}}
{{- if and $open (not .Values.networkPolicy.enabled) (not .Values.auth.allowAnonymous) -}}
{{- fail "auth.enabled and networkPolicy.enabled are both false: anyone in the cluster could call. Enable one, or set auth.allowAnonymous to true if that is meant" -}}
{{- end -}}
{{- if and $open .Values.admin.exposed -}}
{{- fail "admin.exposed lets other pods change what is served: set auth.enabled or tls.mutual.enabled, or leave it off and use kubectl exec" -}}
{{- end -}}
{{- if and $open (ne .Values.service.type "ClusterIP") -}}
{{- fail (printf "service.type %s is reached from outside of the cluster: set auth.enabled or tls.mutual.enabled" .Values.service.type) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.auth.enabled (not (or .Values.auth.existingSecret .Values.auth.tokens .Values.auth.certificates)) -}}
{{- fail "auth.enabled needs somebody who may call: set auth.existingSecret, auth.tokens or auth.certificates" -}}
{{- end -}}
{{- if and .Values.auth.existingSecret (or .Values.auth.tokens .Values.auth.certificates .Values.auth.tenants) -}}
{{- fail "auth.existingSecret holds the whole file, and auth.tokens, auth.certificates and auth.tenants would be ignored: leave one empty" -}}
{{- end -}}
{{- if and .Values.auth.enabled (eq .Values.mode "service") (not .Values.tls.enabled) (not .Values.auth.plaintext) (or .Values.auth.existingSecret .Values.auth.tokens) -}}
{{- fail "auth.enabled without tls.enabled: tokens would pass in the clear. Set tls.enabled, or auth.plaintext to true where a mesh speaks TLS for the pods" -}}
{{- end -}}
{{- if and .Values.auth.certificates (not .Values.tls.mutual.enabled) -}}
{{- fail "auth.certificates names certificates that nobody asks for: set tls.mutual.enabled" -}}
{{- end -}}
{{- $clients := and (eq .Values.mode "service") (or .Values.test.enabled .Values.retraining.enabled .Values.fleet.enabled) -}}
{{- if and .Values.auth.enabled $clients (not .Values.auth.client.existingSecret) (not .Values.tls.mutual.enabled) -}}
{{- fail "auth.enabled: helm test, retraining and the fleet need a token too: set auth.client.existingSecret, or test.enabled, retraining.enabled and fleet.enabled to false" -}}
{{- end -}}
{{- if and .Values.signing.enabled (not (or .Values.signing.existingSecret .Values.signing.keys)) -}}
{{- fail "signing.enabled needs a key: set signing.existingSecret or signing.keys" -}}
{{- end -}}
{{- end -}}

{{- define "rankd.guardDrain" -}}
{{- $grace := int (include "rankd.grace" .) -}}
{{- $least := int (include "rankd.leastGrace" .) -}}
{{- if lt $grace $least -}}
{{- fail (printf "terminationGracePeriodSeconds %d would kill pods while they drain: at least %d are needed for drain.delay, drain.timeout and what comes after it; 0 works it out" $grace $least) -}}
{{- end -}}
{{- end -}}

{{- define "rankd.guardTraining" -}}
{{- if eq .Values.mode "service" -}}
{{- if and .Values.retraining.enabled (not .Values.retraining.data) (not .Values.completionLog.enabled) -}}
{{- fail "retraining.enabled has nothing to train on: set completionLog.enabled, or retraining.data" -}}
{{- end -}}
{{- if and .Values.training.enabled (not .Values.training.data) (not .Values.completionLog.enabled) -}}
{{- fail "training.enabled has nothing to train on: set completionLog.enabled, or training.data" -}}
{{- end -}}
{{- range $name, $one := dict "retraining" .Values.retraining "training" .Values.training -}}
{{- if and $one.enabled (not (and $.Values.registry.enabled (has "ReadWriteMany" $.Values.registry.accessModes))) -}}
{{- fail (printf "%s.enabled needs a registry that pods share: set registry.enabled, with registry.accessModes [ReadWriteMany]" $name) -}}
{{- end -}}
{{- if and $one.enabled (not $one.data) (include "rankd.logOnVolume" $) (not (has "ReadWriteMany" $.Values.completionLog.accessModes)) -}}
{{- fail (printf "%s.enabled reads the completion log from another pod: set completionLog.accessModes to [ReadWriteMany], or completionLog.url" $name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.retraining.enabled .Values.retraining.promote.enabled -}}
{{- if not .Values.admin.exposed -}}
{{- fail "retraining.promote.enabled needs the admin service: set admin.exposed (with auth.enabled or tls.mutual.enabled), or retraining.promote.enabled to false" -}}
{{- end -}}
{{- if and .Values.tls.enabled (or .Values.autoscaling.enabled (ne .Values.workload "StatefulSet")) -}}
{{- fail "retraining.promote.enabled over TLS needs replicas whose names are in the certificate: set workload to StatefulSet, without autoscaling, or retraining.promote.enabled to false" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "rankd.guardSidecar" -}}
{{- if eq .Values.mode "sidecar" -}}
{{- if and .Values.sidecar.native (semverCompare ">=1.27.0-0 <1.29.0-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "Kubernetes %s has no init containers that stay, 1.29 has: set sidecar.native to false" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- if or .Values.autoscaling.enabled .Values.retraining.enabled .Values.training.enabled .Values.admin.exposed .Values.snapshot.enabled .Values.fleet.enabled .Values.serviceMonitor.enabled -}}
{{- fail "mode sidecar runs no pods of its own: set autoscaling, retraining, training, admin.exposed, snapshot, fleet and serviceMonitor to false; what is to be retrained or scraped belongs to the engine's pod" -}}
{{- end -}}
{{- if eq .Values.probes.kind "grpc" -}}
{{- fail "mode sidecar listens for gRPC on loopback only, where the kubelet cannot ask: set probes.kind to http" -}}
{{- end -}}
{{- if and .Values.tls.enabled .Values.tls.certManager.enabled -}}
{{- fail "mode sidecar listens on loopback, for which cert-manager issues nothing: set tls.enabled to false, or tls.existingSecret" -}}
{{- end -}}
{{- end -}}
{{- end -}}
