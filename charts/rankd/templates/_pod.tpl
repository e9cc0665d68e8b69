{{/* What all pods of the chart have in common. Service links would bring variables that begin with RANKD_. */}}
{{- define "rankd.podSpec" -}}
serviceAccountName: {{ include "rankd.serviceAccount" . }}
{{ include "rankd.podOfAny" . }}
{{- end -}}

{{/* The same under another account: the proxy faces clients, and needs no access to the completion log. */}}
{{- define "rankd.podOfAny" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - {name: {{ . }}}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "rankd.spread" -}}
{{- $hash := ternary "controller-revision-hash" "pod-template-hash" (eq .Values.workload "StatefulSet") -}}
{{- include "rankd.spreadOf" (dict "root" . "component" "server" "hash" $hash) -}}
{{- end -}}
{{- define "rankd.spreadOf" -}}
{{- $spread := .root.Values.topologySpread -}}
{{- if $spread.enabled -}}
topologySpreadConstraints:
  {{- range $spread.keys }}
  - topologyKey: {{ . }}
    maxSkew: {{ $spread.maxSkew }}
    whenUnsatisfiable: {{ $spread.whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "rankd.selector" $.root | nindent 8 }}
        app.kubernetes.io/component: {{ $.component }}
    # Replicas of the rollout before do not count.
    matchLabelKeys: [{{ $.hash }}]
  {{- end }}
{{- end -}}
{{- end -}}

{{/* Call with (dict "root" . "component" "server" "name" "..." "values" .Values.podDisruptionBudget). */}}
{{- define "rankd.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "rankd.metadata" . | nindent 2 }}
spec:
  {{- if .values.minAvailable }}
  minAvailable: {{ .values.minAvailable }}
  {{- else }}
  maxUnavailable: {{ .values.maxUnavailable }}
  {{- end }}
  {{- with .values.unhealthyPodEvictionPolicy }}
  unhealthyPodEvictionPolicy: {{ . }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "rankd.selector" .root | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Variables of the chart's own clients, and the volumes they need. TLS_... are read by files/*.sh. */}}
{{- define "rankd.clientEnv" -}}
- {name: RANKD_TARGET, value: "{{ include "rankd.host" . }}:{{ .Values.service.port }}"}
{{- if .Values.tls.enabled }}
- {name: TLS_CA, value: /etc/rankd/client/ca.crt}
{{- if .Values.tls.mutual.enabled }}
- {name: TLS_CERT, value: /etc/rankd/client/tls.crt}
- {name: TLS_KEY, value: /etc/rankd/client/tls.key}
{{- end }}
{{- end }}
{{- if .Values.auth.client.existingSecret }}
- {name: RANKD_TOKEN_FILE, value: /etc/rankd/token/token}
{{- if .Values.auth.plaintext }}
- {name: RANKD_PLAINTEXT_TOKEN, value: "true"}
{{- end }}
{{- end }}
{{- end -}}

{{- define "rankd.clientMounts" -}}
{{- if .Values.tls.enabled }}
- {name: client, mountPath: /etc/rankd/client, readOnly: true}
{{- end }}
{{- include "rankd.tokenMount" . }}
{{- end -}}
{{- define "rankd.tokenMount" -}}
{{- if .Values.auth.client.existingSecret }}
- {name: token, mountPath: /etc/rankd/token, readOnly: true}
{{- end }}
{{- end -}}

{{- define "rankd.clientVolumes" -}}
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
{{- include "rankd.tokenVolume" . }}
{{- end -}}
{{- define "rankd.tokenVolume" -}}
{{- if .Values.auth.client.existingSecret }}
- name: token
  secret:
    secretName: {{ .Values.auth.client.existingSecret }}
    defaultMode: 0440
    items: [{key: {{ .Values.auth.client.key }}, path: token}]
{{- end }}
{{- end -}}
