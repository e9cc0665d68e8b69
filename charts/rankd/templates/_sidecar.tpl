{{/*
For other charts: rankd beside an engine, in the engine's own pod. With this chart among the dependencies, as `rankd`,
and `mode: sidecar` in its values:

  {{- $rankd := dict "Values" .Values.rankd "Release" .Release "Chart" (dict "Name" "rankd" "AppVersion" "0.1.0") }}
  initContainers:                            # or containers, with rankd.sidecar.native: false
    {{- include "rankd.sidecar" $rankd | nindent 4 }}
  volumes:
    {{- include "rankd.sidecarVolumes" $rankd | nindent 4 }}

The engine then calls 127.0.0.1:50051; with `proxy.enabled` the proxy is there too, and clients call its port. Give its pod fsGroup 65532 where rankd has volumes or Secrets.
*/}}
{{- define "rankd.sidecar" -}}
- {{ include "rankd.container" . | indent 2 | trim }}
{{- if .Values.sidecar.native }}
  # Starts before the engine, ends after it, and its probes count.
  restartPolicy: Always
{{- end }}
{{- if .Values.proxy.enabled }}
{{ include "rankd.proxySidecar" . }}
{{- end }}
{{- end -}}

{{- define "rankd.sidecarVolumes" -}}
{{- include "rankd.volumes" . -}}
{{- if .Values.proxy.enabled }}
{{- include "rankd.proxyVolumes" . }}
{{- end }}
{{- end -}}
