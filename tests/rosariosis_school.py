"""A small school as RosarioSIS keeps it, by table: two former students and two pupils, one in no known class.

Numbers are chosen so that nothing can be taken from them: the examination of a term has a lower number than
its tests, and the two former students have the same examination number, in different years.
"""

from __future__ import annotations

TABLES = {
    "schools": """\
id,syear,title,city
1,2021,Laurel High School,Lagos
""",
    "school_gradelevels": """\
id,school_id,short_name,title,sort_order
3,1,JSS3,Junior Secondary 3,3
4,1,SS1,Senior Secondary 1,4
6,1,SS3,Senior Secondary 3,6
7,1,A21,Alumni 2021,7
8,1,A20,Alumni 2020,8
""",
    "marking_periods": """\
marking_period_id,mp_source,school_id,mp_type,title,sort_order,points
1,Manual,1,First Term,Exams,3,70
2,Manual,1,First Term,Midterm Test,2,20
3,Manual,1,First Term,Principal Test,1,10
4,Manual,1,Second Term,Principal Test,4,10
5,Manual,1,Second Term,Exams,6,70
9,Manual,1,Full Year,Report,9,100
""",
    "teachers": """\
id,last_name,first_name,middle_name
1,Obi,Ada,
2,Bala,Musa,Sani
""",
    "parent": """\
parent_id,last_name,first_name,education_level
1,Eze,Grace,Higher
2,Bello,Ahmed,Secondary
""",
    "students": """\
student_id,parent_id,first_name,last_name,middle_name,grade_level_id,bus_pickup,bus_dropoff,departments,gender,health_status,profile_image,updated_at
10,1,Ngozi,Eze,Ada,4,Y,N,Science,F,1,https://school.example.org/10.jpg,2021-09-01T08:00:00+01:00
11,2,Tunde,Bello,,8,N,N,,M,4,,2021-09-01T08:00:00+01:00
12,2,Chidi,Okeke,,7,N,Y,Art,M,3,,2021-09-01T08:00:00+01:00
13,,Sade,Cole,,99,,,,F,,,2021-09-01T08:00:00+01:00
""",
    "courses": """\
course_id,subject_id,school_id,grade_level,teacher_id,title,short_name,department,credit_hours
1,1,1,4,1,Mathematics,MTH,Science,3
2,1,1,6,1,Mathematics,MTH,Science,3
3,2,1,6,2,English Studies,ENG,,2
4,1,1,3,2,Mathematics,MTH,,3
""",
    "students_courses": """\
student_course_id,student_id,course_id,grade_level_id
100,10,1,4
101,10,4,3
110,11,2,6
111,11,3,6
120,12,2,6
130,13,1,4
""",
    "student_assessment_grades": """\
student_course_id,marking_period_id,points
100,3,8
100,2,15
100,1,40.5
100,4,9
101,1,30
110,3,5
110,2,10
110,1,35
110,5,60
111,1,20
120,1,50
130,1,60
130,9,60
""",
    "attendance_day": """\
student_course_id,total_minutes,minutes_present
100,1000,900
110,960,640
111,960,960
120,0,0
""",
    "eligibility_activities": """\
id,school_id,title
1,1,Chess Club
2,1,Choir
""",
    "eligibility": """\
student_id,syear,activity_id,is_active
10,2021,1,true
11,2019,2,false
""",
    "discipline_referrals": """\
id,syear,student_id,school_id,staff_id,entry_date,referral_date,offence,action_taken
1,2019,11,1,2,2020-02-03,2020-02-05,Class disruption,Detention
2,2019,11,1,1,2020-03-03,,Test misconduct,
3,2019,11,1,1,2020-04-03,2020-04-04,Class disruption,Warning
""",
    "portal_polls": """\
id,school_id,syear,title,votes_number,students_teacher_id
1,1,2021,Best,40,1
2,1,2021,Worst,5,1
3,1,2021,Worst,30,2
""",
    "student_sat_reg_numbers": """\
student_id,sat_registration_number
11,4123456001
12,4123456001
""",
    "student_waec_reg_numbers": """\
student_id,waec_registration_number
11,4123456001
12,4123456001
""",
}
"""CSV by table, with the source's column names."""

EXAM_RESULTS = """\
Exam,Exam Year,Exam Number,Subject,Grade,Score
SAT,2020,4123456001,Overall,,900
SAT,2021,4123456001,Overall,,1250
SAT,2019,4123456001,Overall,,1000
WASSCE,2020,4123456001,Mathematics,C6,
WASSCE,2020,4123456001,English Language,D7,
WASSCE,2020,4123456001,Biology,F9,
WASSCE,2021,4123456001,Mathematics,A1,
"""
"""What the exam boards say. Nobody left in 2019."""


def upload_of(table: str, content: str) -> dict[str, str]:
    """Dataset and content of an upload of the table, whose own `school_id` has another name here."""
    head, _, rows = content.partition("\n")
    columns = ["rosariosis_school_id" if name == "school_id" else name for name in head.split(",")]
    return {"dataset": f"rosariosis_{table}", "content": ",".join(columns) + "\n" + rows}
