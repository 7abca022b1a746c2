-- The tables that a school's RosarioSIS on MySQL or MariaDB has of its students, with the two tables of examination
-- numbers and the end-of-term scores that schools add to it. Written by us, in RosarioSIS's manner: years are
-- decimals, yes and no are small numbers or letters, days that are not known yet are 0000-00-00 where the server
-- allows it, one table is left in latin1, and not every table knows when a row was changed. There are no foreign
-- keys; a column that names another table's row has an index.

create table schools (
    id int not null auto_increment,
    syear decimal(10,2) not null,
    title varchar(100) not null,
    address varchar(100) default null,
    city varchar(100) default null,
    state varchar(50) default null,
    zipcode varchar(10) default null,
    phone varchar(30) default null,
    principal varchar(100) default null,
    www_address varchar(100) default null,
    school_number varchar(50) default null,
    short_name varchar(25) default null,
    reporting_gp_scale decimal(10,3) default null,
    grading_scale varchar(50) default null,
    sort_order decimal(10,2) default null,
    created_at timestamp null default current_timestamp,
    updated_at timestamp null default null on update current_timestamp,
    primary key (id)
) engine=InnoDB default charset=utf8mb4 comment='Laurel demo school';

create table school_gradelevels (
    id int not null auto_increment,
    school_id int not null,
    short_name varchar(5) default null,
    title varchar(50) not null,
    next_grade_id int default null,
    sort_order decimal(10,2) default null,
    created_at timestamp null default current_timestamp,
    updated_at timestamp null default null on update current_timestamp,
    primary key (id),
    key school_gradelevels_school (school_id)
) engine=InnoDB default charset=utf8mb4 comment='Laurel demo school';

create table marking_periods (
    marking_period_id int not null,
    mp_source varchar(10) default null,
    school_id int not null,
    mp_type varchar(20) default null,
    title varchar(50) default null,
    sort_order decimal(10,2) default null,
    parent_id int default null,
    grandparent_id int default null,
    points decimal(10,2) default null,
    primary key (marking_period_id)
) engine=InnoDB default charset=utf8mb4 comment='Laurel demo school';

create table calendar_events (
    id int not null auto_increment,
    syear decimal(10,2) not null,
    school_id int not null,
    school_date date default null,
    title varchar(50) not null,
    description text default null,
    created_at timestamp null default current_timestamp,
    updated_at timestamp null default null on update current_timestamp,
    primary key (id),
    key calendar_events_date (school_date)
) engine=InnoDB default charset=utf8mb4 comment='Laurel demo school';

create table teachers (
    id int not null auto_increment,
    last_name varchar(50) not null,
    first_name varchar(50) not null,
    middle_name varchar(50) default null,
    created_at timestamp null default current_timestamp,
    updated_at timestamp null default null on update current_timestamp,
    primary key (id)
) engine=InnoDB default charset=utf8mb4 comment='Laurel demo school';

-- From before the server spoke UTF-8.
create table parent (
    parent_id int not null auto_increment,
    last_name varchar(50) not null,
    first_name varchar(50) not null,
    middle_name varchar(50) default null,
    education_level varchar(50) default null,
    created_at timestamp null default current_timestamp,
    updated_at timestamp null default null on update current_timestamp,
    primary key (parent_id)
) engine=InnoDB default charset=latin1 comment='Laurel demo school';

create table students (
    student_id int not null auto_increment,
    parent_id int default null,
    first_name varchar(50) not null,
    last_name varchar(50) not null,
    middle_name varchar(50) default null,
    grade_level_id int default null,
    bus_pickup varchar(1) default null,
    bus_dropoff varchar(1) default null,
    departments varchar(50) default null,
    gender varchar(1) default null,
    health_status tinyint default null,
    profile_image text default null,
    created_at timestamp null default current_timestamp,
    updated_at timestamp null default null on update current_timestamp,
    primary key (student_id),
    key students_parent (parent_id),
    key students_grade_level (grade_level_id)
) engine=InnoDB default charset=utf8mb4 comment='Laurel demo school';

create table courses (
    course_id int not null auto_increment,
    subject_id int not null,
    school_id int not null,
    grade_level int default null,
    teacher_id int default null,
    title varchar(100) not null,
    short_name varchar(25) default null,
    department varchar(50) default null,
    credit_hours decimal(6,2) default null,
    description text default null,
    rollover_id int default null,
    created_at timestamp null default current_timestamp,
    updated_at timestamp null default null on update current_timestamp,
    primary key (course_id),
    key courses_subject (subject_id),
    key courses_teacher (teacher_id)
) engine=InnoDB default charset=utf8mb4 comment='Laurel demo school';

create table students_courses (
    student_course_id int not null auto_increment,
    student_id int not null,
    course_id int not null,
    grade_level_id int default null,
    created_at timestamp not null default current_timestamp,
    updated_at timestamp not null default current_timestamp on update current_timestamp,
    primary key (student_course_id),
    key students_courses_student (student_id),
    key students_courses_course (course_id),
    key students_courses_updated (updated_at)
) engine=InnoDB default charset=utf8mb4 comment='Laurel demo school';

create table attendance_day (
    student_course_id int not null,
    total_minutes decimal(10,0) default null,
    minutes_present decimal(10,0) default null,
    created_at timestamp not null default current_timestamp,
    updated_at timestamp not null default current_timestamp on update current_timestamp,
    primary key (student_course_id),
    key attendance_day_updated (updated_at)
) engine=InnoDB default charset=utf8mb4 comment='Laurel demo school';

create table student_assessment_grades (
    student_course_id int not null,
    marking_period_id int not null,
    points decimal(6,2) default null,
    primary key (student_course_id, marking_period_id)
) engine=InnoDB default charset=utf8mb4 comment='Laurel demo school';

create table discipline_referrals (
    id int not null auto_increment,
    syear decimal(10,2) default null,
    student_id int not null,
    school_id int not null,
    staff_id int default null,
    entry_date date default null,
    referral_date date not null default '0000-00-00',
    offence varchar(100) default null,
    action_taken varchar(100) default null,
    category_1 varchar(50) default null,
    category_2 varchar(50) default null,
    category_3 varchar(50) default null,
    category_4 varchar(50) default null,
    category_5 varchar(50) default null,
    category_6 varchar(50) default null,
    primary key (id),
    key discipline_referrals_student (student_id)
) engine=InnoDB default charset=utf8mb4 comment='Laurel demo school';

create table eligibility_activities (
    id int not null auto_increment,
    syear decimal(10,2) default null,
    school_id int not null,
    title varchar(100) not null,
    start_date date default null,
    end_date date default null,
    comment text default null,
    created_at timestamp null default current_timestamp,
    updated_at timestamp null default null on update current_timestamp,
    primary key (id)
) engine=InnoDB default charset=utf8mb4 comment='Laurel demo school';

create table eligibility (
    student_id int not null,
    syear decimal(10,2) default null,
    school_date date default null,
    activity_id int default null,
    is_active tinyint(1) not null default 0,
    created_at timestamp null default current_timestamp,
    updated_at timestamp null default null on update current_timestamp,
    primary key (student_id),
    key eligibility_activity (activity_id)
) engine=InnoDB default charset=utf8mb4 comment='Laurel demo school';

create table portal_polls (
    id int not null auto_increment,
    school_id int not null,
    syear decimal(10,2) not null,
    title varchar(100) default null,
    votes_number int default null,
    display_votes varchar(1) default null,
    sort_order decimal(10,2) default null,
    published_user int default null,
    published_date datetime default null,
    start_date date default null,
    end_date date default null,
    published_profiles text default null,
    excluded_users text default null,
    students_teacher_id int default null,
    primary key (id),
    key portal_polls_teacher (students_teacher_id)
) engine=InnoDB default charset=utf8mb4 comment='Laurel demo school';

create table student_sat_reg_numbers (
    student_id int not null,
    sat_registration_number varchar(20) default null,
    primary key (student_id),
    key student_sat_reg_numbers_number (sat_registration_number)
) engine=InnoDB default charset=utf8mb4 comment='Laurel demo school';

create table student_waec_reg_numbers (
    student_id int not null,
    waec_registration_number varchar(20) default null,
    primary key (student_id),
    key student_waec_reg_numbers_number (waec_registration_number)
) engine=InnoDB default charset=utf8mb4 comment='Laurel demo school';
