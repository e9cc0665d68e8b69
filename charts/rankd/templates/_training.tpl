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

{{/* A list of words as one variable, a line each: files/retrain.sh splits by lines, so that spaces stay what they are. */}}
{{- define "rankd.lines" -}}{{ join "\n" . | quote }}{{- end -}}

{{- define "rankd.trainData" -}}
{{- $data := default (list (include "rankd.logPlace" .root)) .data -}}
{{- toJson $data -}}
{{- end -}}

{{- define "rankd.retrainEnv" -}}
{{- $r := .Values.retraining -}}
{{- $data := include "rankd.trainData" (dict "root" . "data" $r.data) | fromJsonArray -}}
- name: RUN
  # The Job's name: the same after a restart of the container, another for the next run.
  valueFrom: {fieldRef: {fieldPath: "metadata.labels['job-name']"}}
- {name: WORKSPACE, value: /workspace}
- {name: ORT_DISABLE_TELEMETRY, value: "1"}
- {name: REGISTRY, value: {{ include "rankd.registryPath" . }}}
- {name: TRAIN_DATA, value: {{ include "rankd.lines" $data }}}
- {name: TRAIN_ARGS, value: {{ include "rankd.lines" (concat (list "--base" $r.base "--precision" (include "rankd.precision" .)) $r.args) }}}
- {name: EVALUATE_DATA, value: {{ include "rankd.lines" (default $data $r.evaluate.data) }}}
- {name: EVALUATE_ARGS, value: {{ include "rankd.lines" $r.evaluate.args }}}
- {name: MIN_TAU, value: {{ $r.evaluate.minTau | quote }}}
{{- if $r.promote.enabled }}
- {name: PROMOTE_ARGS, value: {{ include "rankd.lines" $r.promote.args }}}
- {name: ADMIN_PORT, value: {{ .Values.admin.port | quote }}}
{{- if and (eq .Values.workload "StatefulSet") (not .Values.autoscaling.enabled) }}
- name: ADMIN_HOSTS
  value: |-
    {{- range until (int .Values.replicas) }}
    {{ include "rankd.fullname" $ }}-{{ . }}.{{ include "rankd.headless" $ }}.{{ $.Release.Namespace }}.svc
    {{- end }}
{{- else }}
- {name: ADMIN_NAME, value: {{ include "rankd.headless" . }}.{{ .Release.Namespace }}.svc}
{{- end }}
{{- end }}
{{ include "rankd.clientEnv" . }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "rankd.precision" -}}
{{- default (ternary "fp16" "int8" .Values.gpu.enabled) .Values.retraining.precision -}}
{{- end -}}
