{{/*
The proxy: its container, what the Deployment's pods and an engine's pod have in common. For other charts, as
_sidecar.tpl says: `rankd.proxySidecar` and `rankd.proxySidecarVolumes` put it beside an engine whose rankd runs
elsewhere (`mode: service`). In `mode: sidecar` it is in `rankd.sidecar` already.
*/}}

{{- define "rankd.proxyName" -}}{{ include "rankd.fullname" . }}-proxy{{- end -}}

{{/* Not empty where the proxy has pods of its own. */}}
{{- define "rankd.proxyDeployed" -}}
{{- if and .Values.proxy.enabled (eq .Values.mode "service") (eq .Values.proxy.workload "Deployment") -}}true{{- end -}}
{{- end -}}

{{- define "rankd.proxyImage" -}}
{{- $image := .Values.proxy.image -}}
{{- $repository := default .Values.image.repository $image.repository -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ default (printf "%s-proxy" .Chart.AppVersion) $image.tag }}
{{- end -}}
{{- end -}}

{{/* Seconds until a pod is killed: the drain, and five for the last reports. */}}
{{- define "rankd.proxyGrace" -}}
{{- add (ceil .Values.proxy.drain.delay) (ceil .Values.proxy.drain.timeout) 5 -}}
{{- end -}}

{{- define "rankd.proxyContainer" -}}
name: proxy
image: {{ include "rankd.proxyImage" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [rankd]
args: [proxy]
env:
  {{- include "rankd.proxyEnv" . | trim | nindent 2 }}
{{- with .Values.proxy.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  - {name: proxy, containerPort: {{ .Values.proxy.port }}, protocol: TCP}
  - {name: proxy-metrics, containerPort: {{ .Values.proxy.metricsPort }}, protocol: TCP}
# Neither waits for engine or daemon: an init container that stays starts before the engine.
startupProbe:
  httpGet: {path: /livez, port: proxy-metrics}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: proxy-metrics}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: proxy-metrics}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
resources:
  {{- toYaml .Values.proxy.resources | nindent 2 }}
securityContext:
  {{- include "rankd.proxySecurity" . | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- include "rankd.proxyClientMounts" . | trim | nindent 2 }}
  {{- with .Values.proxy.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* In an engine's pod the container must say itself what the pod says elsewhere. */}}
{{- define "rankd.proxySecurity" -}}
{{- $own := dict -}}
{{- if not (include "rankd.proxyDeployed" .) -}}
{{- $own = pick .Values.podSecurityContext "runAsNonRoot" "runAsUser" "runAsGroup" "seccompProfile" -}}
{{- end -}}
{{- toYaml (merge (deepCopy .Values.securityContext) $own) -}}
{{- end -}}

{{- define "rankd.proxyEnv" -}}
{{- $proxy := .Values.proxy -}}
{{- $beside := eq .Values.mode "sidecar" -}}
- {name: RANKD_PROXY_UPSTREAM, value: {{ default "http://127.0.0.1:8000" $proxy.upstream | quote }}}
- {name: RANKD_PROXY_LISTEN, value: "{{ .Values.bindAddress }}:{{ $proxy.port }}"}
- {name: RANKD_PROXY_METRICS, value: "{{ .Values.bindAddress }}:{{ $proxy.metricsPort }}"}
- {name: RANKD_PROXY_DIRECTION, value: {{ $proxy.direction }}}
- {name: RANKD_PROXY_DRAIN_DELAY, value: {{ $proxy.drain.delay | quote }}}
- {name: RANKD_PROXY_DRAIN_TIMEOUT, value: {{ $proxy.drain.timeout | quote }}}
{{- range $name, $value := $proxy.settings }}
- {name: RANKD_PROXY_{{ upper $name }}, value: {{ ternary $value (toJson $value) (kindIs "string" $value) | quote }}}
{{- end }}
- {name: RANKD_TARGET, value: "{{ ternary "127.0.0.1" (include "rankd.host" .) $beside }}:{{ .Values.service.port }}"}
{{- if .Values.tls.enabled }}
- {name: RANKD_TLS_ROOTS, value: /etc/rankd/client/ca.crt}
{{- if .Values.tls.mutual.enabled }}
- {name: RANKD_TLS_CERTIFICATE, value: /etc/rankd/client/tls.crt}
- {name: RANKD_TLS_PRIVATE_KEY, value: /etc/rankd/client/tls.key}
{{- end }}
{{- end }}
{{- if include "rankd.proxyToken" . }}
- {name: RANKD_TOKEN_FILE, value: /etc/rankd/proxy-token/token}
{{- if .Values.auth.plaintext }}
- {name: RANKD_PLAINTEXT_TOKEN, value: "true"}
{{- end }}
{{- end }}
{{- with $proxy.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The Secret with its token: its own, or that of all clients of the chart. */}}
{{- define "rankd.proxyToken" -}}
{{- default .Values.auth.client.existingSecret .Values.proxy.token.existingSecret -}}
{{- end -}}

{{- define "rankd.proxyClientMounts" -}}
{{- if .Values.tls.enabled }}
- {name: client, mountPath: /etc/rankd/client, readOnly: true}
{{- end }}
{{- if include "rankd.proxyToken" . }}
- {name: proxy-token, mountPath: /etc/rankd/proxy-token, readOnly: true}
{{- end }}
{{- end -}}

{{/* Without `tmp`, which it shares with rankd where both are in one pod. */}}
{{- define "rankd.proxyVolumes" -}}
{{- if .Values.tls.enabled }}
- name: client
  secret:
    secretName: {{ default (include "rankd.tlsSecret" .) .Values.tls.client.existingSecret }}
    defaultMode: 0440
    items:
      - {key: ca.crt, path: ca.crt}
      {{- if .Values.tls.mutual.enabled }}
      - {key: tls.crt, path: tls.crt}
      - {key: tls.key, path: tls.key}
      {{- end }}
{{- end }}
{{- with include "rankd.proxyToken" . }}
- name: proxy-token
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items: [{key: {{ ternary $.Values.proxy.token.key $.Values.auth.client.key (ne $.Values.proxy.token.existingSecret "") }}, path: token}]
{{- end }}
{{- with .Values.proxy.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "rankd.proxySidecar" -}}
- {{ include "rankd.proxyContainer" . | indent 2 | trim }}
{{- if .Values.sidecar.native }}
  # Starts before the engine, ends after it.
  restartPolicy: Always
{{- end }}
{{- end -}}

{{- define "rankd.proxySidecarVolumes" -}}
- name: tmp
  emptyDir: {sizeLimit: {{ .Values.tmpSize }}}
{{- include "rankd.proxyVolumes" . }}
{{- end -}}
