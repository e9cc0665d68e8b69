{{/* The daemon's container: what the service's pods and the sidecar have in common. */}}

{{- define "rankd.container" -}}
name: rankd
image: {{ include "rankd.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [rankd]
args: [serve]
env:
  {{- include "rankd.env" . | nindent 2 }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  {{- if eq .Values.mode "service" }}
  - {name: grpc, containerPort: {{ .Values.service.port }}, protocol: TCP}
  {{- end }}
  - {name: http, containerPort: {{ .Values.service.httpPort }}, protocol: TCP}
  {{- if include "rankd.adminExposed" . }}
  - {name: admin, containerPort: {{ .Values.admin.port }}, protocol: TCP}
  {{- end }}
{{ include "rankd.probes" . }}
resources:
  {{- include "rankd.resources" . | nindent 2 }}
securityContext:
  {{- include "rankd.containerSecurity" . | nindent 2 }}
volumeMounts:
  {{- include "rankd.volumeMounts" . | nindent 2 }}
{{- end -}}

{{/* In an engine's pod the container must say itself what the pod says elsewhere. */}}
{{- define "rankd.containerSecurity" -}}
{{- $own := dict -}}
{{- if eq .Values.mode "sidecar" -}}
{{- $own = pick .Values.podSecurityContext "runAsNonRoot" "runAsUser" "runAsGroup" "seccompProfile" -}}
{{- end -}}
{{- toYaml (merge (deepCopy .Values.securityContext) $own) -}}
{{- end -}}

{{- define "rankd.adminExposed" -}}
{{- if and .Values.admin.exposed (eq .Values.mode "service") -}}true{{- end -}}
{{- end -}}

{{- define "rankd.env" -}}
{{- $sidecar := eq .Values.mode "sidecar" -}}
{{- $bind := .Values.bindAddress -}}
- {name: RANKD_LISTEN, value: "{{ ternary "127.0.0.1" $bind $sidecar }}:{{ .Values.service.port }}"}
- {name: RANKD_METRICS, value: "{{ $bind }}:{{ .Values.service.httpPort }}"}
- {name: RANKD_ADMIN, value: "{{ ternary $bind "127.0.0.1" (eq (include "rankd.adminExposed" .) "true") }}:{{ .Values.admin.port }}"}
- {name: ORT_DISABLE_TELEMETRY, value: "1"}
- {name: RANKD_PROVIDER, value: {{ include "rankd.provider" . }}}
{{- with .Values.ranker }}
- {name: RANKD_RANKER, value: {{ quote . }}}
{{- end }}
- {name: RANKD_DRAIN_DELAY, value: {{ .Values.drain.delay | quote }}}
- {name: RANKD_DRAIN_TIMEOUT, value: {{ .Values.drain.timeout | quote }}}
{{- if .Values.settings }}
- {name: RANKD_CONFIG, value: /etc/rankd/settings/rankd.toml}
{{- end }}
{{- if .Values.registry.enabled }}
- {name: RANKD_REGISTRY, value: {{ include "rankd.registryPath" . }}}
- {name: RANKD_PROMOTION__FOLLOW, value: {{ .Values.registry.followPromoted | quote }}}
{{- end }}
{{- if .Values.completionLog.enabled }}
- {name: RANKD_COMPLETION_LOG__DIRECTORY, value: {{ include "rankd.logPlace" . | quote }}}
{{- if .Values.completionLog.joinKey.existingSecret }}
- name: RANKD_COMPLETION_LOG__JOIN_KEY
  valueFrom:
    secretKeyRef: {name: {{ .Values.completionLog.joinKey.existingSecret }}, key: {{ .Values.completionLog.joinKey.key }}}
{{- end }}
{{- end }}
{{- if and .Values.snapshot.enabled (not $sidecar) }}
- {name: RANKD_QUALITY__SNAPSHOT, value: /var/lib/rankd/quality/windows}
{{- if .Values.snapshot.key.existingSecret }}
- name: RANKD_QUALITY__SNAPSHOT_KEY
  valueFrom:
    secretKeyRef: {name: {{ .Values.snapshot.key.existingSecret }}, key: {{ .Values.snapshot.key.key }}}
{{- end }}
{{- end }}
{{- if .Values.learning.key.existingSecret }}
- name: RANKD_ADAPT__KEY
  valueFrom:
    secretKeyRef: {name: {{ .Values.learning.key.existingSecret }}, key: {{ .Values.learning.key.key }}}
{{- end }}
{{- include "rankd.trustEnv" . }}
{{- include "rankd.fleetEnv" . }}
{{- with .Values.otlp.endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ quote . }}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- {name: OTEL_RESOURCE_ATTRIBUTES, value: "k8s.pod.name=$(POD_NAME),k8s.namespace.name=$(POD_NAMESPACE)"}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Peers are asked at their addresses, which are in no certificate: the Service's name is. */}}
{{- define "rankd.fleetEnv" -}}
{{- if include "rankd.fleet" . }}
- {name: RANKD_FLEET__PEERS, value: "dns:///{{ include "rankd.headless" . }}.{{ .Release.Namespace }}.svc:{{ .Values.service.port }}"}
- {name: RANKD_FLEET__FOLLOW, value: {{ .Values.fleet.follow | quote }}}
{{- if .Values.tls.enabled }}
- {name: RANKD_FLEET__TLS_ROOTS, value: /etc/rankd/peers/ca.crt}
- {name: RANKD_FLEET__TLS_NAME, value: {{ include "rankd.host" . }}}
{{- end }}
{{- if .Values.auth.client.existingSecret }}
- {name: RANKD_FLEET__TOKEN_FILE, value: /etc/rankd/token/token}
{{- end }}
{{- end }}
{{- end -}}
{{- define "rankd.fleet" -}}
{{- if and .Values.fleet.enabled (eq .Values.mode "service") -}}true{{- end -}}
{{- end -}}

{{/* Who may call, and how it is known. A sidecar listens on loopback, where neither is needed. */}}
{{- define "rankd.trustEnv" -}}
{{- if .Values.tls.enabled }}
- {name: RANKD_TLS__CERTIFICATE, value: /etc/rankd/tls/tls.crt}
- {name: RANKD_TLS__PRIVATE_KEY, value: /etc/rankd/tls/tls.key}
{{- if .Values.tls.mutual.enabled }}
- {name: RANKD_TLS__CLIENT_CA, value: /etc/rankd/client-ca/ca.crt}
{{- end }}
{{- end }}
{{- if .Values.auth.enabled }}
- {name: RANKD_AUTH__FILE, value: /etc/rankd/auth/auth.toml}
{{- if .Values.auth.plaintext }}
- {name: RANKD_AUTH__PLAINTEXT, value: "true"}
{{- end }}
{{- else if and (eq .Values.mode "service") (not (include "rankd.authenticates" .)) }}
# rankd listens beyond loopback without tokens only if it is told that this is meant.
- {name: RANKD_AUTH__ANONYMOUS, value: "true"}
{{- end }}
{{- if .Values.signing.enabled }}
- {name: RANKD_SIGNING__FILE, value: /etc/rankd/signing/signing.toml}
{{- end }}
{{- end -}}

{{- define "rankd.probe" -}}
{{- if eq .root.Values.probes.kind "grpc" -}}
grpc: {port: {{ .root.Values.service.port }}{{ with .service }}, service: {{ . }}{{ end }}}
{{- else -}}
httpGet: {path: {{ .path }}, port: http}
{{- end }}
{{ toYaml .timing }}
{{- end -}}
{{- define "rankd.probes" -}}
startupProbe:
  {{- include "rankd.probe" (dict "root" . "path" "/livez" "service" "liveness" "timing" .Values.probes.startup) | nindent 2 }}
livenessProbe:
  {{- include "rankd.probe" (dict "root" . "path" "/livez" "service" "liveness" "timing" .Values.probes.liveness) | nindent 2 }}
readinessProbe:
  {{- include "rankd.probe" (dict "root" . "path" "/readyz" "service" "" "timing" .Values.probes.readiness) | nindent 2 }}
{{- end -}}

{{- define "rankd.resources" -}}
{{- $resources := deepCopy .Values.resources -}}
{{- if .Values.gpu.enabled -}}
{{- $limits := merge (dict .Values.gpu.resource (int .Values.gpu.count)) (default dict $resources.limits) -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}
