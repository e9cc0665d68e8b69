{{/* Values of the proxy, of ways in and of pods that contradict each other. */}}
{{- define "rankd.guardProxy" -}}
{{- $p := .Values.proxy -}}
{{- $deployed := include "rankd.proxyDeployed" . -}}
{{- if $p.enabled -}}
{{- if and $deployed (not $p.upstream) -}}
{{- fail "proxy.enabled needs an engine: set proxy.upstream to its URL, such as http://vllm.serving.svc:8000" -}}
{{- end -}}
{{- if eq (int $p.port) (int $p.metricsPort) -}}
{{- fail (printf "proxy.port and proxy.metricsPort are both %d: change one" (int $p.port)) -}}
{{- end -}}
{{- $ports := list (int .Values.service.port) (int .Values.service.httpPort) (int .Values.admin.port) -}}
{{- if and (eq .Values.mode "sidecar") (or (has (int $p.port) $ports) (has (int $p.metricsPort) $ports)) -}}
{{- fail (printf "proxy.port %d or proxy.metricsPort %d is a port of rankd, in the same pod: choose others than %v" (int $p.port) (int $p.metricsPort) $ports) -}}
{{- end -}}
{{- if and .Values.auth.enabled (not (include "rankd.proxyToken" .)) (not .Values.tls.mutual.enabled) -}}
{{- fail "auth.enabled: the proxy needs a token too: set proxy.token.existingSecret or auth.client.existingSecret" -}}
{{- end -}}
{{- if and .Values.tls.mutual.enabled (not .Values.tls.client.existingSecret) -}}
{{- fail "tls.mutual.enabled: the proxy needs a certificate too: set tls.client.existingSecret" -}}
{{- end -}}
{{- if and $deployed .Values.networkPolicy.enabled .Values.networkPolicy.egress.enabled (not .Values.networkPolicy.proxy.egress) -}}
{{- fail "networkPolicy.egress.enabled keeps the proxy from its engine: let it through by networkPolicy.proxy.egress" -}}
{{- end -}}
{{- if and (not $deployed) (or $p.extraContainers $p.initContainers) -}}
{{- fail "proxy.extraContainers and proxy.initContainers are for pods of the proxy's own, and here it is in the engine's: put them there" -}}
{{- end -}}
{{- end -}}
{{- if and (or $p.ingress.enabled $p.httpRoute.enabled) (not $deployed) -}}
{{- fail "proxy.ingress and proxy.httpRoute lead to the proxy's Service: set mode to service, proxy.enabled to true and proxy.workload to Deployment; an engine's pod has a Service of its own" -}}
{{- end -}}
{{- if and $p.httpRoute.enabled (not $p.httpRoute.parentRefs) -}}
{{- fail "proxy.httpRoute.enabled needs a Gateway: set proxy.httpRoute.parentRefs, such as [{name: gateway, namespace: infra}]" -}}
{{- end -}}
{{- end -}}

{{- define "rankd.guardRoutes" -}}
{{- $routed := or .Values.ingress.enabled .Values.grpcRoute.enabled -}}
{{- if and $routed (eq .Values.mode "sidecar") -}}
{{- fail "mode sidecar listens for gRPC on loopback only: set ingress.enabled and grpcRoute.enabled to false" -}}
{{- end -}}
{{- if and $routed (not (include "rankd.authenticates" .)) -}}
{{- fail "ingress.enabled and grpcRoute.enabled let callers in from outside of the cluster: set auth.enabled or tls.mutual.enabled" -}}
{{- end -}}
{{- if and .Values.grpcRoute.enabled (not .Values.grpcRoute.parentRefs) -}}
{{- fail "grpcRoute.enabled needs a Gateway: set grpcRoute.parentRefs, such as [{name: gateway, namespace: infra}]" -}}
{{- end -}}
{{- range $name, $service := dict "service" .Values.service "proxy.service" .Values.proxy.service -}}
{{- $least := ternary "1.31.0" "1.34.0" (eq $service.trafficDistribution "PreferClose") -}}
{{- if and $service.trafficDistribution (semverCompare (printf "<%s-0" $least) $.Capabilities.KubeVersion.Version) -}}
{{- fail (printf "%s.trafficDistribution %s needs Kubernetes %s, and this is %s: leave it empty" $name $service.trafficDistribution (trimSuffix ".0" $least) $.Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A budget that lets no pod go holds up every drain of a node, for ever. */}}
{{- define "rankd.guardBudgets" -}}
{{- if eq .Values.mode "service" -}}
{{- $least := ternary .Values.autoscaling.minReplicas .Values.replicas .Values.autoscaling.enabled -}}
{{- include "rankd.guardBudget" (dict "name" "podDisruptionBudget" "values" .Values.podDisruptionBudget "replicas" $least) -}}
{{- if include "rankd.proxyDeployed" . -}}
{{- include "rankd.guardBudget" (dict "name" "proxy.podDisruptionBudget" "values" .Values.proxy.podDisruptionBudget "replicas" .Values.proxy.replicas) -}}
{{- end -}}
{{- else if or .Values.extraContainers .Values.initContainers -}}
{{- fail "mode sidecar runs no pods of its own: put extraContainers and initContainers into the engine's pod" -}}
{{- end -}}
{{- end -}}
{{- define "rankd.guardBudget" -}}
{{- $kept := .values.minAvailable -}}
{{- if and .values.enabled (not (kindIs "string" $kept)) (ge (int $kept) (int .replicas)) (gt (int .replicas) 0) -}}
{{- fail (printf "%s.minAvailable %d of %d replicas lets no pod go, and no node could be drained: lower it, or raise the replicas" .name (int $kept) (int .replicas)) -}}
{{- end -}}
{{- end -}}
