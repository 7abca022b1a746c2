-- For analysts, teachers and whoever is bound to a school. Lines are of people, of all schools.
select
    mart.dataset,
    mart.rule,
    mart.severity,
    case when mart.row_count >= rules.minimum_group then mart.row_count end as row_count,
    mart.upload_count
from marts.mart_data_quality as mart
inner join staging.disclosure_rules as rules on rules.rule = 'small_group'
