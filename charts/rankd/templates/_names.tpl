{{/* Names, labels and images. What other charts may include is in _sidecar.tpl. */}}

{{- define "rankd.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "rankd.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "rankd.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "rankd.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "rankd.headless" -}}{{ include "rankd.fullname" . }}-headless{{- end -}}

{{/* Host of the Service, as certificates name it. */}}
{{- define "rankd.host" -}}{{ include "rankd.fullname" . }}.{{ .Release.Namespace }}.svc{{- end -}}

{{- define "rankd.selector" -}}
app.kubernetes.io/name: {{ include "rankd.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of a pod or an object; call with (dict "root" . "component" "server"). */}}
{{- define "rankd.labels" -}}
{{ include "rankd.selector" .root }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: rankd
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Metadata of an object; call with (dict "root" . "name" "..." "component" "server"). */}}
{{- define "rankd.metadata" -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "rankd.labels" . | nindent 2 }}
  helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end -}}

{{- define "rankd.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "rankd.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "rankd.provider" -}}
{{- default (ternary "cuda" "cpu" .Values.gpu.enabled) .Values.provider -}}
{{- end -}}

{{- define "rankd.image" -}}
{{- $flavour := ternary "cuda" "cpu" .Values.gpu.enabled -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default (printf "%s-%s" .Chart.AppVersion $flavour) .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "rankd.trainImage" -}}
{{- $image := .Values.retraining.image -}}
{{- $repository := default .Values.image.repository $image.repository -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ default (printf "%s-train" .Chart.AppVersion) $image.tag }}
{{- end -}}
{{- end -}}

{{/* Seconds until a pod is killed: the drain, ten seconds for the snapshot where there is one, ten for the completion log, three for telemetry, and two. */}}
{{- define "rankd.leastGrace" -}}
{{- add (ceil .Values.drain.delay) (ceil .Values.drain.timeout) (ternary 25 15 .Values.snapshot.enabled) -}}
{{- end -}}
{{- define "rankd.grace" -}}
{{- $least := include "rankd.leastGrace" . | int -}}
{{- ternary $least (int .Values.terminationGracePeriodSeconds) (eq (int .Values.terminationGracePeriodSeconds) 0) -}}
{{- end -}}

{{- define "rankd.tlsSecret" -}}
{{- default (printf "%s-tls" (include "rankd.fullname" .)) .Values.tls.existingSecret -}}
{{- end -}}
{{- define "rankd.authSecret" -}}
{{- default (printf "%s-auth" (include "rankd.fullname" .)) .Values.auth.existingSecret -}}
{{- end -}}
{{- define "rankd.signingSecret" -}}
{{- default (printf "%s-signing" (include "rankd.fullname" .)) .Values.signing.existingSecret -}}
{{- end -}}
{{- define "rankd.registryClaim" -}}
{{- default (printf "%s-registry" (include "rankd.fullname" .)) .Values.registry.existingClaim -}}
{{- end -}}
{{- define "rankd.logClaim" -}}
{{- default (printf "%s-log" (include "rankd.fullname" .)) .Values.completionLog.existingClaim -}}
{{- end -}}

{{/* Paths in containers. */}}
{{- define "rankd.registryPath" -}}/var/lib/rankd/registry{{- end -}}
{{- define "rankd.logPath" -}}/var/lib/rankd/log{{- end -}}
{{- define "rankd.logPlace" -}}
{{- default (include "rankd.logPath" .) .Values.completionLog.url -}}
{{- end -}}
{{- define "rankd.logOnVolume" -}}
{{- if and .Values.completionLog.enabled (not .Values.completionLog.url) -}}true{{- end -}}
{{- end -}}

{{/* Most replicas that may run. */}}
{{- define "rankd.mostReplicas" -}}
{{- ternary .Values.autoscaling.maxReplicas .Values.replicas .Values.autoscaling.enabled | int -}}
{{- end -}}

{{/* Not empty where callers are told apart. */}}
{{- define "rankd.authenticates" -}}
{{- if or .Values.auth.enabled (and .Values.tls.enabled .Values.tls.mutual.enabled) -}}true{{- end -}}
{{- end -}}
