{{/* The daemon's volumes, and where they are mounted. */}}
{{- define "rankd.volumeMounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if .Values.settings }}
- {name: settings, mountPath: /etc/rankd/settings, readOnly: true}
{{- end }}
{{- if .Values.tls.enabled }}
- {name: tls, mountPath: /etc/rankd/tls, readOnly: true}
{{- if .Values.tls.mutual.enabled }}
- {name: client-ca, mountPath: /etc/rankd/client-ca, readOnly: true}
{{- end }}
{{- end }}
{{- if .Values.auth.enabled }}
- {name: auth, mountPath: /etc/rankd/auth, readOnly: true}
{{- end }}
{{- if .Values.signing.enabled }}
- {name: signing, mountPath: /etc/rankd/signing, readOnly: true}
{{- end }}
{{- if .Values.registry.enabled }}
- {name: registry, mountPath: {{ include "rankd.registryPath" . }}}
{{- end }}
{{- if include "rankd.logOnVolume" . }}
- {name: log, mountPath: {{ include "rankd.logPath" . }}}
{{- end }}
{{- if and .Values.snapshot.enabled (eq .Values.mode "service") }}
- {name: snapshot, mountPath: /var/lib/rankd/quality}
{{- end }}
{{- if include "rankd.fleet" . }}
{{- if .Values.tls.enabled }}
- {name: peers, mountPath: /etc/rankd/peers, readOnly: true}
{{- end }}
{{- include "rankd.tokenMount" . }}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Secrets are mounted whole, never by subPath: renewed files then arrive without a restart. */}}
{{- define "rankd.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: {{ .Values.tmpSize }}}
{{- if .Values.settings }}
- name: settings
  configMap: {name: {{ include "rankd.fullname" . }}-settings}
{{- end }}
{{- if .Values.tls.enabled }}
- name: tls
  secret:
    secretName: {{ include "rankd.tlsSecret" . }}
    defaultMode: 0440
    items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]
{{- if .Values.tls.mutual.enabled }}
- name: client-ca
  secret:
    secretName: {{ default (include "rankd.tlsSecret" .) .Values.tls.mutual.existingSecret }}
    items: [{key: {{ .Values.tls.mutual.key }}, path: ca.crt}]
{{- end }}
{{- end }}
{{- if .Values.auth.enabled }}
- name: auth
  secret:
    secretName: {{ include "rankd.authSecret" . }}
    defaultMode: 0440
    items: [{key: {{ .Values.auth.key }}, path: auth.toml}]
{{- end }}
{{- if .Values.signing.enabled }}
- name: signing
  secret:
    secretName: {{ include "rankd.signingSecret" . }}
    defaultMode: 0440
    items: [{key: {{ .Values.signing.key }}, path: signing.toml}]
{{- end }}
{{- if .Values.registry.enabled }}
- name: registry
  persistentVolumeClaim: {claimName: {{ include "rankd.registryClaim" . }}}
{{- end }}
{{- if include "rankd.logOnVolume" . }}
- name: log
  persistentVolumeClaim: {claimName: {{ include "rankd.logClaim" . }}}
{{- end }}
{{- if include "rankd.fleet" . }}
{{- if .Values.tls.enabled }}
- name: peers
  secret:
    secretName: {{ default (include "rankd.tlsSecret" .) .Values.tls.client.existingSecret }}
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- include "rankd.tokenVolume" . }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
