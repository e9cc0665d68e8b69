{{/* What all pods of the chart have in common. Service links would bring variables that begin with RANKD_. */}}
{{- define "rankd.podSpec" -}}
serviceAccountName: {{ include "rankd.serviceAccount" . }}
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
{{- if .Values.topologySpread.enabled -}}
topologySpreadConstraints:
  {{- range .Values.topologySpread.keys }}
  - topologyKey: {{ . }}
    maxSkew: {{ $.Values.topologySpread.maxSkew }}
    whenUnsatisfiable: {{ $.Values.topologySpread.whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "rankd.selector" $ | nindent 8 }}
        app.kubernetes.io/component: server
    # Replicas of the rollout before do not count.
    matchLabelKeys: [{{ ternary "controller-revision-hash" "pod-template-hash" (eq $.Values.workload "StatefulSet") }}]
  {{- end }}
{{- end -}}
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
