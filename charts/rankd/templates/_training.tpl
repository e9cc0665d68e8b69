{{/* What retraining and training on several nodes share. */}}

{{- define "rankd.trainMounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: registry, mountPath: {{ include "rankd.registryPath" . }}}
{{- if include "rankd.logOnVolume" . }}
- {name: log, mountPath: {{ include "rankd.logPath" . }}, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "rankd.trainVolumes" -}}
- name: tmp
  emptyDir: {sizeLimit: 2Gi}
- name: registry
  persistentVolumeClaim: {claimName: {{ include "rankd.registryClaim" . }}}
{{- if include "rankd.logOnVolume" . }}
- name: log
  persistentVolumeClaim: {claimName: {{ include "rankd.logClaim" . }}}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "rankd.trainData" -}}
{{- $data := default (list (include "rankd.logPlace" .root)) .data -}}
{{- toJson $data -}}
{{- end -}}

{{/* Words after `rankd`. */}}
{{- define "rankd.retrainArgs" -}}
{{- $r := .Values.retraining -}}
{{- $data := include "rankd.trainData" (dict "root" . "data" $r.data) | fromJsonArray -}}
- retrain
- --exit-zero
- --registry
- {{ include "rankd.registryPath" . }}
- --scratch
- /workspace
- --data
{{- range $data }}
- {{ quote . }}
{{- end }}
- --base
- {{ quote $r.base }}
- --precision
- {{ include "rankd.precision" . }}
{{- with $r.evaluate.data }}
- --evaluate-data
{{- range . }}
- {{ quote . }}
{{- end }}
{{- end }}
{{- with $r.evaluate.minTau }}
- --min-tau={{ . }}
{{- end }}
{{- if $r.promote.enabled }}
{{- include "rankd.retrainReplicas" . }}
{{- range $r.promote.args }}
- {{ quote . }}
{{- end }}
{{- else }}
- --no-promote
{{- end }}
{{- range $r.args }}
- {{ quote . }}
{{- end }}
{{- end -}}

{{- define "rankd.retrainReplicas" -}}
{{- if and (eq .Values.workload "StatefulSet") (not .Values.autoscaling.enabled) }}
- --admin
{{- range until (int .Values.replicas) }}
- {{ include "rankd.fullname" $ }}-{{ . }}.{{ include "rankd.headless" $ }}.{{ $.Release.Namespace }}.svc:{{ $.Values.admin.port }}
{{- end }}
{{- else }}
- --admin-name={{ include "rankd.headless" . }}.{{ .Release.Namespace }}.svc:{{ .Values.admin.port }}
{{- end }}
{{- if .Values.tls.enabled }}
- --tls-ca=/etc/rankd/client/ca.crt
{{- if .Values.tls.mutual.enabled }}
- --tls-cert=/etc/rankd/client/tls.crt
- --tls-key=/etc/rankd/client/tls.key
{{- end }}
{{- end }}
{{- end -}}

{{- define "rankd.retrainEnv" -}}
- {name: ORT_DISABLE_TELEMETRY, value: "1"}
{{- if .Values.auth.client.existingSecret }}
- {name: RANKD_TOKEN_FILE, value: /etc/rankd/token/token}
{{- if .Values.auth.plaintext }}
- {name: RANKD_PLAINTEXT_TOKEN, value: "true"}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "rankd.precision" -}}
{{- default (ternary "fp16" "int8" .Values.gpu.enabled) .Values.retraining.precision -}}
{{- end -}}
