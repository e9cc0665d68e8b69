{{/* Ways in from outside of the cluster, for the daemon and for the proxy. */}}

{{/* Call with (dict "root" . "component" "proxy" "name" "..." "values" .Values.proxy.ingress "path" "/" "port" 8080). */}}
{{- define "rankd.ingress" -}}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  {{- include "rankd.metadata" . | nindent 2 }}
  {{- with .values.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with .values.className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with .values.tls }}
  tls:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    {{- range default (list "") .values.hosts }}
    - {{ if . }}host: {{ quote . }}
      {{ end }}http:
        paths:
          - path: {{ $.path }}
            pathType: Prefix
            backend: {service: {name: {{ $.name }}, port: {number: {{ $.port }}}}}
    {{- end }}
{{- end -}}

{{/* The head of a route of the Gateway API; call likewise, with "kind". */}}
{{- define "rankd.route" -}}
apiVersion: gateway.networking.k8s.io/v1
kind: {{ .kind }}
metadata:
  {{- include "rankd.metadata" . | nindent 2 }}
  {{- with .values.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  parentRefs:
    {{- toYaml .values.parentRefs | nindent 4 }}
  {{- with .values.hostnames }}
  hostnames:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
