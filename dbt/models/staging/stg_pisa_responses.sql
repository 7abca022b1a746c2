{{
    config(
        materialized='incremental',
        incremental_strategy='newest_rows',
        meta={'removed': 'pisa_responses__changed'},
        indexes=[{'columns': ['row_key'], 'unique': true}],
    )
}}

{{
    newest_rows(
        'pisa_responses',
        key=['school_id', 'cnt', 'id'],
        columns=[
            'school_id', 'cnt', 'id', 'pisa_school_id', 'escs', 'tmins', 'belong', 'durecec', 'w_fstuwt',
            'time_submitted', 'is_deleted',
        ],
    )
}}
