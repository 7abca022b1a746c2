{#
Intervals of effect sizes, worked out from sums. z is the quantile of the normal distribution that gives the
interval its confidence.
#}

{# Abramowitz & Stegun 26.2.23: the z that a normal variable exceeds with probability p (0 < p < 0.5), to 0.00045. #}
{% macro upper_normal_quantile(p) -%}
    (
        sqrt(-2 * ln({{ p }}))
        - (2.515517 + 0.802853 * sqrt(-2 * ln({{ p }})) + 0.010328 * (-2 * ln({{ p }})))
        / (
            1 + 1.432788 * sqrt(-2 * ln({{ p }})) + 0.189269 * (-2 * ln({{ p }}))
            + 0.001308 * sqrt(-2 * ln({{ p }})) * (-2 * ln({{ p }}))
        )
    )
{%- endmacro %}


{# Cohen's d: normal approximation with the variance of Hedges and Olkin (1985). sign: -1 low, 1 high. #}
{% macro bound_of_d(d, n1, n2, z, sign) -%}
    ({{ d }} + {{ sign }} * {{ z }} * sqrt(
        ({{ n1 }} + {{ n2 }}) / ({{ n1 }} * {{ n2 }}) + {{ d }} * {{ d }} / (2 * ({{ n1 }} + {{ n2 }}))
    ))
{%- endmacro %}


{# Correlation: Fisher's transformation. #}
{% macro bound_of_r(r, n, z, sign) -%}
    tanh(atanh(greatest(least(({{ r }})::float8, 0.999999), -0.999999)) + {{ sign }} * ({{ z }})::float8 / sqrt(({{ n }})::float8 - 3))
{%- endmacro %}


{#
Eta squared: (n - k) × between / within follows nearly a chi-squared distribution with k - 1 degrees of freedom
and non-centrality n × eta² / (1 - eta²); the square root of such a variable, less half of (k - 2), nearly a
normal one of variance 1. Reaches zero where there is no effect, which an interval around eta² never would.
#}
{% macro bound_of_eta_squared(eta_squared, n, k, z, sign) -%}
    {%- set ratio = '(' ~ n ~ ' - ' ~ k ~ ') * ' ~ eta_squared ~ ' / nullif(1 - ' ~ eta_squared ~ ', 0)' -%}
    {%- set root = '(sqrt(greatest(' ~ ratio ~ ' - (' ~ k ~ ' - 2) / 2.0, 0)) + ' ~ sign ~ ' * ' ~ z ~ ')' -%}
    {%- set shift = '(greatest(' ~ root ~ ', 0) * greatest(' ~ root ~ ', 0) - (' ~ k ~ ' - 2) / 2.0)' -%}
    (greatest({{ shift }}, 0) / (greatest({{ shift }}, 0) + {{ n }}))
{%- endmacro %}
